"""SSH, by paramiko: fences of targets, files of sites, scripts on the database's hosts.

Host keys are always checked.
"""

from sisamu_ops.doors.ssh.files import SftpFiles, fetch_directory, open_files, put_file
from sisamu_ops.doors.ssh.scripts import ShellHost, SshShells
from sisamu_ops.doors.ssh.targets import SshTargets

__all__ = [
    "SftpFiles",
    "ShellHost",
    "SshShells",
    "SshTargets",
    "fetch_directory",
    "open_files",
    "put_file",
]

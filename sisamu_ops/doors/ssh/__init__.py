"""SSH to the targets' fences and to the sites' replicas; host keys are always checked.

paramiko is imported in this folder and nowhere else: `connection` opens, and keeps open what will
be needed soon; `targets` puts questions to the fences; `files` moves files.
"""

from sisamu_ops.doors.ssh.files import SftpFiles, fetch_directory, open_files, put_file
from sisamu_ops.doors.ssh.targets import SshTargets

__all__ = ["SftpFiles", "SshTargets", "fetch_directory", "open_files", "put_file"]

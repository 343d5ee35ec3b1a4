# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the action plugin of this name does the work, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sisamu_fence
short_description: Change or read one target through its fence
description:
  - Runs the fence helper on the target with one request and returns its answer.
  - Fails on a refusal, and on an outcome that is C(failed) or C(unknown).
options:
  verb:
    description: What is asked of the fence.
    type: str
    choices: [apply, enrol, read, seal]
    default: apply
  token:
    description: Fencing token as C(EPOCH.INDEX). Needed by every verb but C(read).
    type: str
  change:
    description: Values wanted, by samu_id. Needed by C(apply).
    type: dict
  command:
    description: Command of the fence helper on the target.
    type: list
    elements: str
    required: true
  dir:
    description: Directory of the fence on the target.
    type: path
    required: true
author: [sisamu-ops]
"""

EXAMPLES = r"""
- name: Move SAMU 300 to its own gateway
  sisamu_fence:
    token: "4294967296.1"
    change: {"300": backup}
    command: "{{ sisamu_fence_command }}"
    dir: "{{ sisamu_fence_dir }}"
"""

RETURN = r"""
answer:
  description: The helper's answer, as it came.
  type: dict
  returned: when the helper answered
"""

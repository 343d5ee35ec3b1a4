# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the action plugin of this name does the work, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sisamu_test_call
short_description: Place one SIP test call with SIPp
description:
  - Calls the number over UDP from the controller, hangs up at once, says who answered.
  - Fails unless the call was answered 200 by C(expected).
options:
  address:
    description: Address the INVITE goes to.
    type: str
    required: true
  port:
    description: UDP port the INVITE goes to.
    type: int
    default: 5060
  number:
    description: Test number of the SAMU. Never one a caller uses; refused when empty.
    type: str
    required: true
  expected:
    description: What the header X-Answered-By of the 200 must start with.
    type: str
    required: true
  timeout_ms:
    description: How long to wait for the final answer, in milliseconds.
    type: int
    default: 3000
  scenario:
    description: Path of the SIPp scenario.
    type: path
    required: true
  via:
    description: What is called (C(gateway), C(router) or C(platform)), for whoever reads events.
    type: str
    default: ""
  samu:
    description: The samu_id the call is for, for whoever reads events.
    type: str
    default: ""
author: [sisamu-ops]
"""

EXAMPLES = r"""
- name: Prove a gateway
  sisamu_test_call:
    address: 198.18.5.11
    number: "{{ samu_test_number }}"
    expected: backup;samu=300
    scenario: "{{ playbook_dir }}/files/sisamu_test_call.xml"
"""

RETURN = r"""
verdict:
  description: >
    C(expected), C(elsewhere) (answered by another path), C(refused) (a final SIP error), or
    C(silent) (no final answer in time).
  type: str
answered:
  description: Whether a 200 came back.
  type: bool
status:
  description: Status of the final answer, 0 without one.
  type: int
answered_by:
  description: The header X-Answered-By, empty without one.
  type: str
via, samu:
  description: As given, for whoever reads the result.
  type: str
pdd_ms:
  description: From the first INVITE to the final answer, in milliseconds, 0 without one.
  type: int
"""

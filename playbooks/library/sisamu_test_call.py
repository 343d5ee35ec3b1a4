# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the action plugin of this name does the work, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sisamu_test_call
short_description: Place SIP test calls with SIPp
description:
  - Calls numbers over UDP from the controller, hangs up at once, says who answered each.
  - Calls of one address follow each other at a rate; all addresses are called at once.
  - Fails unless every call was answered 200 by what it expects. No call is a success.
options:
  calls:
    description: The calls, each for a SAMU.
    type: list
    elements: dict
    required: true
    suboptions:
      samu:
        description: The samu_id the call is for.
        type: str
        required: true
      number:
        description: Test number of the SAMU. Never one a caller uses; not called when empty.
        type: str
        default: ""
      expected:
        description: What the header X-Answered-By of the 200 must start with.
        type: str
        required: true
      host:
        description: Inventory name of what is called, for whoever reads events; the task's host.
        type: str
        default: ""
      address:
        description: Address the INVITE goes to; the task's when empty.
        type: str
        default: ""
      via:
        description: As for the task, for this call.
        type: str
        default: ""
  address:
    description: Address the INVITEs go to that have none of their own.
    type: str
    default: ""
  port:
    description: UDP port the INVITEs go to.
    type: int
    default: 5060
  via:
    description: >
      What is called (C(gateway), C(router), C(platform) or C(call-server)), for whoever reads
      events.
    type: str
    default: ""
  rate_per_s:
    description: Calls a second to one address.
    type: int
    default: 40
  timeout_ms:
    description: How long to wait for the final answer of a call, in milliseconds.
    type: int
    default: 3000
  scenario:
    description: Path of the SIPp scenario.
    type: path
    required: true
author: [sisamu-ops]
"""

EXAMPLES = r"""
- name: Prove a gateway
  sisamu_test_call:
    address: 198.18.5.11
    calls:
      - {samu: "300", number: "{{ samu_test_number }}", expected: backup;samu=300}
    scenario: "{{ playbook_dir }}/files/sisamu_test_call.xml"
"""

RETURN = r"""
calls:
  description: The calls in the order given, without the number called, each with what became of it.
  type: list
  elements: dict
  contains:
    verdict:
      description: >
        C(expected), C(elsewhere) (answered by another path), C(refused) (a final SIP error),
        C(silent) (no final answer in time), or C(not called).
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
    pdd_ms:
      description: From the first INVITE to the final answer, in milliseconds, 0 without one.
      type: int
not_evaluated:
  description: Which calls check mode has left out.
  type: str
  returned: in check mode
"""

#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: ask the fence of a target, and fail on all but a done answer."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

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

REFUSALS = {
    "older-token": "the target has accepted a newer token; whoever holds this one must not act",
    "not-enrolled": "the target has no fence state; enrol it: sisamu target enrol HOST",
    "other-content": "the target knows this token with another change; a token is used once",
    "corrupt-state": "the fence's state cannot be relied upon",
}


def parse_token(text: str) -> dict[str, int]:
    """Read `EPOCH.INDEX`; raises ValueError."""
    epoch, index = text.split(".")
    return {"epoch": int(epoch), "index": int(index)}


def build_request(module: AnsibleModule) -> dict[str, Any]:
    """Build the helper's request out of the arguments, or fail with what is wrong."""
    request: dict[str, Any] = {}
    if module.params["verb"] != "read":
        try:
            request["token"] = parse_token(module.params["token"] or "")
        except ValueError:
            module.fail_json(
                msg=f"token {module.params['token']!r} is not EPOCH.INDEX; "
                "`sisamu samu card` prints one"
            )
    if module.params["verb"] == "apply":
        request["change"] = module.params["change"] or {}
    return request


def ask(module: AnsibleModule, verb: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run the helper once and return its answer, or fail with what it said instead."""
    command = [*module.params["command"], "--dir", module.params["dir"], verb]
    status, out, err = module.run_command(command, data=json.dumps(request))
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        module.fail_json(msg=f"the fence gave no answer (exit {status}): {(err or out).strip()}")
    if "error" in answer:
        module.fail_json(msg=f"the fence could not act: {answer['error']}", answer=answer)
    return answer


def token_text(token: dict[str, int] | None) -> str:
    """Write a token the way the command line does."""
    return "none" if token is None else f"{token['epoch']}.{token['index']}"


def explain_refusal(answer: dict[str, Any], token: str) -> str:
    """Say why the fence refused, and what its last token is."""
    reason = answer["reason"]
    remedy = f"; {answer['remedy']}" if reason == "corrupt-state" and "remedy" in answer else ""
    known = f"shown {token}, last accepted {token_text(answer.get('last'))}"
    return f"refused by the fence ({reason}): {REFUSALS.get(reason, reason)}{remedy} [{known}]"


def conclude(module: AnsibleModule, answer: dict[str, Any]) -> None:
    """Leave with the answer: a refusal, `failed` and `unknown` are failures."""
    if not answer.get("accepted", answer.get("enrolled", True)) and module.params["verb"] != "read":
        module.fail_json(msg=explain_refusal(answer, module.params["token"]), answer=answer)
    if module.params["verb"] == "apply" and answer["outcome"] != "done":
        detail = answer["detail"] or "no detail"
        module.fail_json(msg=f"outcome {answer['outcome']}: {detail}", answer=answer)
    changed = answer.get("changed", module.params["verb"] in ("enrol", "seal"))
    module.exit_json(changed=changed and not answer.get("repeated"), answer=answer)


def preview(module: AnsibleModule, request: dict[str, Any]) -> None:
    """Say in check mode what would change, by reading only."""
    answer = ask(module, "read", {})
    last, token = answer["last"], request.get("token")
    if module.params["verb"] in ("apply", "seal"):
        refusal = "" if answer["enrolled"] else answer.get("reason", "not-enrolled")
        if last and (token["epoch"], token["index"]) < (last["epoch"], last["index"]):
            refusal = "older-token"
        if refusal:
            refused = {**answer, "accepted": False, "reason": refusal}
            module.fail_json(msg=explain_refusal(refused, module.params["token"]), answer=refused)
    wanted = request.get("change", {})
    shown = [answer["values"] or {}, answer["durable"] or {}]
    before = {key: [values.get(key) for values in shown] for key in wanted}
    after = {key: [value, value] for key, value in wanted.items()}
    module.exit_json(
        changed=before != after, answer=answer, diff={"before": before, "after": after}
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "verb": {"choices": ["apply", "enrol", "read", "seal"], "default": "apply"},
            "token": {"type": "str", "no_log": False},
            "change": {"type": "dict"},
            "command": {"type": "list", "elements": "str", "required": True},
            "dir": {"type": "path", "required": True},
        },
        required_if=[("verb", "apply", ["token", "change"])],
        supports_check_mode=True,
    )
    request = build_request(module)
    if module.check_mode:
        preview(module, request)
    conclude(module, ask(module, module.params["verb"], request))


if __name__ == "__main__":
    main()

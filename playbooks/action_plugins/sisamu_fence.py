# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `sisamu_fence`: ask the fence of a target, and fail on all but a done answer.

An action rather than a module shipped to the target: one SSH command with the request on its
standard input, half a second less for each target, and the target needs the fence helper only.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

Json = dict[str, Any]

SPEC = {
    "verb": {"choices": ["apply", "enrol", "read", "seal"], "default": "apply"},
    "token": {"type": "str"},
    "change": {"type": "dict"},
    "command": {"type": "list", "elements": "str", "required": True},
    "dir": {"type": "str", "required": True},
}

REFUSALS = {
    "older-token": "the target has accepted a newer token; whoever holds this one must not act",
    "not-enrolled": "the target has no fence state; enrol it: sisamu target enrol HOST",
    "other-content": "the target knows this token with another change; a token is used once",
    "corrupt-state": "the state of the fence cannot be relied upon",
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """One request to one fence."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> Json:
        """Ask, and turn the answer into a result; in check mode read and compare only."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec=SPEC, required_if=[("verb", "apply", ("token", "change"))]
        )
        request = build_request(args)
        if self._task.check_mode:
            return preview(args, request, self.ask(args, "read", {}))
        return conclude(args, self.ask(args, args["verb"], request))

    def ask(self, args: Json, verb: str, request: Json) -> Json:
        """Run the helper on the target; raises AnsibleActionFail when it gives no answer."""
        command = shlex.join([*args["command"], "--dir", args["dir"], verb])
        run = self._low_level_execute_command(command, in_data=json.dumps(request).encode())
        try:
            answer: Json = json.loads(run["stdout"])
        except ValueError as error:
            said = (run.get("stderr") or run["stdout"]).strip()
            message = f"the fence gave no answer (exit {run['rc']}): {said}"
            raise AnsibleActionFail(message) from error
        return answer


def parse_token(text: str) -> dict[str, int]:
    """Read `EPOCH.INDEX`; raises AnsibleActionFail."""
    found = re.fullmatch(r"([0-9]+)\.([0-9]+)", text)
    if not found:
        raise AnsibleActionFail(
            f"token {text!r} is not EPOCH.INDEX; `sisamu samu card` prints one for use by hand"
        )
    return {"epoch": int(found[1]), "index": int(found[2])}


def build_request(args: Json) -> Json:
    """Build the helper's request out of the task's arguments."""
    request: Json = {}
    if args["verb"] != "read":
        request["token"] = parse_token(args.get("token") or "")
    if args["verb"] == "apply":
        request["change"] = args["change"]
    return request


def conclude(args: Json, answer: Json) -> Json:
    """Turn an answer into a result: a refusal, `failed` and `unknown` are failures."""
    problem = name_problem(args, answer)
    if problem:
        return {"failed": True, "msg": problem, "answer": answer}
    changed = answer.get("changed", args["verb"] != "read") and not answer.get("repeated")
    return {"changed": changed, "answer": answer}


def name_problem(args: Json, answer: Json) -> str:
    """Say what is wrong with an answer, "" when nothing is."""
    if "error" in answer:
        return f"the fence could not act: {answer['error']}"
    if answer.get("accepted") is False or (args["verb"] == "enrol" and not answer["enrolled"]):
        return explain_refusal(answer, args["token"])
    if args["verb"] == "apply" and answer["outcome"] != "done":
        return f"outcome {answer['outcome']}: {answer['detail'] or 'no detail'}"
    return ""


def explain_refusal(answer: Json, token: str) -> str:
    """Say why the fence refused, and what its last token is."""
    reason, last = answer["reason"], answer.get("last")
    known = f"{last['epoch']}.{last['index']}" if last else "none"
    remedy = f"; {answer['remedy']}" if reason == "corrupt-state" else ""
    said = f"refused by the fence ({reason}): {REFUSALS.get(reason, reason)}{remedy}"
    return f"{said} [shown {token}, last accepted {known}]"


def preview(args: Json, request: Json, answer: Json) -> Json:
    """Say what the request would change, from a reading: running value and durable one, each."""
    refusal = foresee_refusal(request.get("token"), answer)
    if "error" not in answer and args["verb"] in ("apply", "seal") and refusal:
        answer = {**answer, "accepted": False, "reason": refusal}
    problem = name_problem({**args, "verb": "read"}, answer)
    wanted = request.get("change", {})
    readings = [answer.get("values") or {}, answer.get("durable") or {}]
    before = {key: [values.get(key) for values in readings] for key in wanted}
    after = {key: [value, value] for key, value in wanted.items()}
    shown = {"before": before, "after": after}
    result = {"answer": answer, "preview": {**shown, "problem": problem}}
    if problem:
        return {"failed": True, "msg": problem, **result}
    return {"changed": before != after, "diff": shown, **result}


def foresee_refusal(token: dict[str, int] | None, answer: Json) -> str:
    """Name the refusal a token would meet, "" for none."""
    last = answer.get("last")
    if last is None:
        return str(answer.get("reason", "not-enrolled"))
    older = token and (token["epoch"], token["index"]) < (last["epoch"], last["index"])
    return "older-token" if older else ""

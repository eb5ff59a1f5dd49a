#!/bin/sh
# Start the stack, talk to it, look at the JSON, and leave nothing behind: what a pipeline does with a chat backend.
#
#   sh examples/ci/chat.sh [FOLDER]     FOLDER is the project's folder, the working folder if left out
set -eu
cd "${1:-.}"

work=$(mktemp -d)
finish() {
  code=$?
  trap - EXIT
  if [ "$code" -ne 0 ]; then
    echo "--- what the parts logged ---" >&2
    cloudia logs --lines 100 >&2 || true
  fi
  cloudia --quiet down || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# expect FILE EXPRESSION: the expression in Python must hold; `it` is the document, `lines` those of a file with many.
expect() {
  python3 - "$1" "$2" <<'PYTHON'
import json, sys
path, expression = sys.argv[1:]
lines = [json.loads(line) for line in open(path, encoding="utf-8")]
it = lines[0] if len(lines) == 1 else None
if not eval(expression, {"it": it, "lines": lines}):
    sys.exit(f"not so: {expression}\n" + "\n".join(json.dumps(line) for line in lines))
print(f"ok: {expression}")
PYTHON
}

echo "--- start"
cloudia --quiet up --detach --json > "$work/up.json"
cloudia status --wait-for ready --timeout 60 --json > "$work/status.json"
expect "$work/status.json" 'it["state"] == "ready" and it["health"]["status"] == "ok"'

echo "--- one message, and the next in its conversation"
echo "My parrot is called Humboldt." | cloudia send --json > "$work/first.json"
expect "$work/first.json" 'it["status"] == "done" and it["reply"] and it["error"] is None'
conversation=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["conversation_id"])' "$work/first.json")
cloudia send --json --conversation "$conversation" "What is it called?" > "$work/second.json"
expect "$work/second.json" 'it["status"] == "done" and "Humboldt" in it["reply"]'

echo "--- many messages"
cat > "$work/messages.jsonl" <<'JSONL'
{"content": "one", "idempotency_key": "ci-1"}
{"content": "two", "idempotency_key": "ci-2"}
{"content": "three", "idempotency_key": "ci-3"}
JSONL
cloudia send --jsonl "$work/messages.jsonl" --concurrency 3 > "$work/answers.jsonl"
expect "$work/answers.jsonl" 'sorted(each["line"] for each in lines) == [1, 2, 3]'
expect "$work/answers.jsonl" 'all(each["status"] == "done" for each in lines)'

echo "--- nothing died"
cloudia dlq list --json > "$work/dead.json"
expect "$work/dead.json" 'it["dead_letters"] == []'

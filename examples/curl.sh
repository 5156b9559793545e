#!/usr/bin/env bash
# Everything with curl: calls as JSON, streams as Server-Sent Events. Run: examples/curl.sh
set -euo pipefail

# region connect
url=${TRIBUTARY_URL:-http://127.0.0.1:8080}
auth="Authorization: Bearer $TRIBUTARY_API_KEY"
tenant=${TRIBUTARY_TENANT:-dev}
# endregion

# region call
# Any RPC: POST to its name, JSON in and out. Field names in camelCase, 64-bit numbers as strings, enums by name.
call() { curl -sS --fail-with-body -H "$auth" -H "content-type: application/json" -d "$2" "$url/tributary.v1.$1"; }

id=$(call WorkflowService/CreateWorkflow '{"name": "from curl"}' | sed 's/.*"workflowId":"\([^"]*\)".*/\1/')
event='"workflowExecutionId": "'$id'", "taskExecutionId": "shell", "waitForDurable": true'
call TaskStreamService/StreamTaskData "{$event, \"type\": \"EVENT_TYPE_TOKEN\", \"payload\": \"Hello\"}"
call TaskStreamService/StreamTaskData "{$event, \"type\": \"EVENT_TYPE_COMPLETED\"}"
# endregion
echo

# region task
# The events of one task, from the beginning; it ends with the task. -N prints them as they come.
curl -sSN -H "$auth" "$url/api/tenants/$tenant/stream/workflows/$id/tasks/shell"
# endregion

# region workflow
# One workflow after offset 2, as EventSource would resume; ends by itself after a second without an event.
curl -sSN -H "$auth" -H "Last-Event-ID: 2" \
  "$url/api/tenants/$tenant/stream/workflows/$id?idle_timeout_ms=1000"
# endregion

# region tree
# The workflow and all below it, only some types.
call WorkflowService/CloseWorkflow "{\"workflowId\": \"$id\", \"status\": \"WORKFLOW_STATUS_COMPLETED\"}"
echo
curl -sSN -H "$auth" "$url/api/tenants/$tenant/stream/workflows/$id/consolidated?types=TOKEN,WORKFLOW_COMPLETED"
# endregion

# region error
# An error is JSON too, with the code and what to do.
call WorkflowService/GetWorkflow '{"workflowId": "00000000-0000-4000-8000-000000000000"}' || echo
# endregion

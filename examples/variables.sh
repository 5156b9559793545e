#!/usr/bin/env bash
# Variables with buf curl, which learns the API from the server. Run: examples/variables.sh
set -euo pipefail
url=${TRIBUTARY_URL:-http://127.0.0.1:8080}

# region call
call() {
  npx buf curl --http2-prior-knowledge -H "Authorization: Bearer $TRIBUTARY_API_KEY" -d "$2" "$url/tributary.v1.$1"
}
# endregion

id=$(call WorkflowService/CreateWorkflow '{"name": "settings"}' | sed -n 's/.*"workflowId": "\([^"]*\)".*/\1/p')

# region set
# The first set gives the type. Later ones keep type, constraints and metadata unless they bring some.
call VariableService/SetVariable '{"workflowId": "'"$id"'", "source": "setup", "assignment": {
  "name": "temperature", "type": "VARIABLE_TYPE_FLOAT", "value": 0.7,
  "constraints": {"min": 0, "max": 2}, "metadata": {"label": "Temperature"}}}'
# endregion

# region increment
# Only if it is still what was read; else ABORTED, with the current version in the details.
call VariableService/SetVariable '{"workflowId": "'"$id"'", "assignment": {
  "name": "temperature", "value": 0.9, "expectedVersion": 1}}'
# endregion

# region several
# Several at once, all or none. A type that is not given is JSON.
call VariableService/SetVariables '{"workflowId": "'"$id"'", "assignments": [
  {"name": "model", "type": "VARIABLE_TYPE_CHOICE", "value": "large", "constraints": {"choices": ["small", "large"]}},
  {"name": "plan", "value": {"steps": ["read", "write"], "done": 0}}]}'
# endregion

# region refused
# Refused by name, with what was found and what would do.
call VariableService/SetVariable '{"workflowId": "'"$id"'", "assignment": {"name": "temperature", "value": 3}}' 2>&1 || true
# endregion

# region delete
call VariableService/DeleteVariable '{"workflowId": "'"$id"'", "name": "plan"}'
# endregion

call WorkflowService/CloseWorkflow '{"workflowId": "'"$id"'", "status": "WORKFLOW_STATUS_COMPLETED"}' > /dev/null

# region watch
# What they are now, then every change; ends with the workflow.
call VariableService/WatchVariables '{"workflowId": "'"$id"'", "includeInitialValues": true}'
# endregion

"""A workflow's variables and events in Python, as iterators that resume by themselves.

Needs grpcio and protobuf (4.21 or later), and the API in one file: npx buf build -o tributary.binpb
Run: python3 examples/watch.py <workflow-id> variables|events
"""
import os
import random
import sys
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

pool = descriptor_pool.DescriptorPool()
with open(os.environ.get("TRIBUTARY_API", "tributary.binpb"), "rb") as file:
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(proto)
url = os.environ.get("TRIBUTARY_URL", "http://127.0.0.1:8080")
channel = grpc.insecure_channel(url.removeprefix("http://"))
metadata = [("authorization", f"Bearer {os.environ['TRIBUTARY_API_KEY']}")]


def new(kind, **fields):
    descriptor = pool.FindMessageTypeByName(f"tributary.v1.{kind}")
    if hasattr(message_factory, "GetMessageClass"):
        made = message_factory.GetMessageClass(descriptor)
    else:
        made = message_factory.MessageFactory(pool).GetPrototype(descriptor)
    return json_format.ParseDict(fields, made())


def call(service, method, **fields):
    answer = type(new(f"{method}Response"))
    rpc = channel.unary_stream(
        f"/tributary.v1.{service}/{method}", lambda request: request.SerializeToString(), answer.FromString
    )
    return rpc(new(f"{method}Request", **fields), metadata=metadata)


# region resume
heals = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN)


def resumed(open_call):
    """The messages of one call after another, until the stream has ended. `open_call` begins where the last one stopped."""
    failures = 0
    while True:
        wait = random.uniform(0, min(5, 0.2 * 2**failures))  # exponential, with full jitter
        messages = open_call()
        try:
            for message in messages:
                failures = 0
                yield message
                if message.HasField("ended"):
                    return
                if message.HasField("closing"):
                    wait = message.closing.reconnect_after_ms / 1000
        except grpc.RpcError as error:
            if error.code() not in heals:
                raise
        finally:
            messages.cancel()
        failures += 1
        time.sleep(wait)


# endregion


# region variables
def variables(workflow_id):
    """Each variable as it is, then every change, once and in order: (name, value), None for a deleted one."""
    position = None  # until the snapshot is complete there is nothing to resume: it is told anew

    def watch():
        options = {"latest": True} if position is None else {"afterOffset": position}
        return call(
            "VariableService",
            "WatchVariables",
            workflowId=workflow_id,
            includeInitialValues=position is None,
            options=options,
        )

    in_snapshot = True
    for message in resumed(watch):
        if message.HasField("gap"):
            in_snapshot = True  # the values as they are follow
        for update in message.updates.updates:
            deleted = update.update_type == 3
            yield update.variable.name, None if deleted else json_format.MessageToDict(update.variable.value)
            if not in_snapshot:
                position = update.offset
        if message.HasField("snapshot_complete"):
            in_snapshot = False
            position = message.snapshot_complete.offset
        if message.HasField("heartbeat") and not in_snapshot:
            position = message.heartbeat.offset


# endregion


def events(workflow_id):
    """Every event of the tree, once and in order."""
    position = 0

    def follow():
        answers = call(
            "EventStreamService",
            "StreamWorkflowConsolidated",
            workflowId=workflow_id,
            options={"afterOffset": position},
        )
        return Unwrapped(answers)

    for message in resumed(follow):
        for event in message.events.events:
            yield event
            position = event.offset
        if message.HasField("heartbeat"):
            position = message.heartbeat.offset
        if message.HasField("gap"):
            raise LookupError(f"offsets up to {message.gap.to_offset} are gone")


class Unwrapped:
    """Streams of events wrap each message once more."""

    def __init__(self, answers):
        self.cancel = answers.cancel
        self.answers = answers

    def __iter__(self):
        return (answer.message for answer in self.answers)


if __name__ == "__main__":
    workflow, what = sys.argv[1:3]
    if what == "variables":
        for name, value in variables(workflow):
            print(name, value, flush=True)
    else:
        for event in events(workflow):
            print(event.offset, event.task_execution_id, event.text, flush=True)

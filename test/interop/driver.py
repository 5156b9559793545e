"""grpcio as a client: reads calls as JSON lines from standard input, makes them, and writes what comes as JSON lines.

In:  {"id", "rpc", "requests", "credential"?}   or {"id", "cancel": true}
Out: {"id", "message"} for each message, then {"id", "code", "text", "details"} (the status details in base64, or "").

The message classes are made at run time from the FileDescriptorSet whose path is the second argument (`buf build -o`), so
no generated code is needed. Ends with its input.
"""

import base64
import json
import sys
import threading

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

target, descriptors = sys.argv[1:3]
pool = descriptor_pool.DescriptorPool()
with open(descriptors, "rb") as file:
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(proto)

printing = threading.Lock()
calls = {}


def message_class(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def report(**line):
    with printing:
        print(json.dumps(line), flush=True)


def start(channel, rpc, requests, credential):
    """The call of grpcio that fits the method, and how to get its answers."""
    service, name = rpc.split("/")
    method = pool.FindServiceByName(service).methods_by_name[name]
    shape = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(shape)
    request_class = message_class(method.input_type)
    kind = (
        ("stream" if shape.client_streaming else "unary")
        + "_"
        + ("stream" if shape.server_streaming else "unary")
    )
    callable = getattr(channel, kind)(
        f"/{rpc}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=message_class(method.output_type).FromString,
    )
    messages = [json_format.ParseDict(request, request_class()) for request in requests]
    metadata = [] if credential is None else [("authorization", f"Bearer {credential}")]
    argument = iter(messages) if shape.client_streaming else messages[0]
    if shape.server_streaming:
        call = callable(argument, metadata=metadata)
        return call, lambda: call
    call = callable.future(argument, metadata=metadata)
    return call, lambda: [call.result()]


def serve(id, call, answers):
    try:
        for message in answers():
            report(id=id, message=json_format.MessageToDict(message))
    except (grpc.RpcError, grpc.FutureCancelledError):
        pass  # the status tells it
    trailers = dict(call.trailing_metadata() or ())
    details = base64.b64encode(trailers.get("grpc-status-details-bin", b"")).decode()
    report(id=id, code=call.code().value[0], text=call.details() or "", details=details)


with grpc.insecure_channel(target) as channel:
    for line in sys.stdin:
        order = json.loads(line)
        id = order["id"]
        if order.get("cancel"):
            calls[id].cancel()
            continue
        call, answers = start(channel, order["rpc"], order["requests"], order.get("credential"))
        calls[id] = call
        threading.Thread(target=serve, args=(id, call, answers), daemon=True).start()

"""Calls a server as a program in another language does: with Debian's grpcio, and messages that protoc made of the description.

Reads one call as JSON on stdin, writes what came of it as JSON on stdout. Bytes are base64."""
import base64
import json
import sys

call = json.load(sys.stdin)
sys.path.insert(0, call["stubs"])

import grpc  # noqa: E402
import run_function_pb2 as pb  # noqa: E402

METHOD = "/apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService/RunFunction"


def request():
    if "raw" in call:
        return base64.b64decode(call["raw"])
    message = pb.RunFunctionRequest(image=call["image"], input=base64.b64decode(call.get("input", "")))
    if "auth" in call:
        message.image_pull_config.auth.username = call["auth"]
    message.image_pull_config.pull_policy = call.get("pull", 0)
    message.run_function_config.network.policy = call.get("network", 0)
    if "timeout" in call:
        message.run_function_config.timeout.FromMilliseconds(call["timeout"])
    return message.SerializeToString()


options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
if "tls" in call:
    read = lambda name: open(call["tls"][name], "rb").read() if name in call["tls"] else None
    credentials = grpc.ssl_channel_credentials(read("ca"), read("key"), read("certificate"))
    channel = grpc.secure_channel(call["target"], credentials, options)
else:
    channel = grpc.insecure_channel(call["target"], options)

method = channel.unary_unary(METHOD, request_serializer=lambda b: b, response_deserializer=pb.RunFunctionResponse.FromString)
compression = grpc.Compression.Gzip if call.get("gzip") else None
future = method.future(request(), timeout=call.get("deadline"), compression=compression)
if "cancel" in call:
    import os
    import time

    while not os.path.exists(call["cancel"]):
        time.sleep(0.01)
    future.cancel()

result = {}
try:
    response = future.result()
    result["output"] = base64.b64encode(response.output).decode()
except grpc.FutureCancelledError:
    pass
except grpc.RpcError:
    pass
result["code"] = future.code().name
result["details"] = future.details()
result["trailers"] = [[k, base64.b64encode(v).decode() if isinstance(v, bytes) else v] for k, v in future.trailing_metadata() or []]
json.dump(result, sys.stdout)

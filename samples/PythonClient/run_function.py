#!/usr/bin/env python3
"""Has an xfn server run a function: run_function.py ADDRESS IMAGE < INPUT > OUTPUT

ADDRESS is what gRPC dials: unix-abstract:crossplane/fn/default.sock, unix:/run/xfn.sock, 127.0.0.1:5000.
The messages are made from run_function.proto, once, by
    protoc --proto_path=/usr/share/xfn --python_out=DIRECTORY run_function.proto
where xfn's Debian package is installed. The NuGet package Xfn.Core.Server has the file in protos/. The messages are found
through PYTHONPATH=DIRECTORY. Debian: apt-get install python3-grpcio python3-protobuf protobuf-compiler
"""
import sys

import grpc
import run_function_pb2 as pb

METHOD = "/apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService/RunFunction"


def main(address, image):
    # gRPC for Python takes messages of 4 MiB unless told; what functions exchange may be larger.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        run = channel.unary_unary(METHOD, pb.RunFunctionRequest.SerializeToString, pb.RunFunctionResponse.FromString)
        request = pb.RunFunctionRequest(image=image, input=sys.stdin.buffer.read())
        request.run_function_config.timeout.FromSeconds(30)
        try:
            response = run(request, timeout=300)
        except grpc.RpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            sys.stderr.buffer.write(trailers.get("xfn-stderr-tail-bin", b""))
            return int(trailers.get("xfn-exit-code", 125))
    sys.stdout.buffer.write(response.output)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))

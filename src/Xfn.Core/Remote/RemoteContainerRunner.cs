using System.Globalization;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Net.Client;
using Xfn.Core.Interop;
using Xfn.Core.Pipes;
using Xfn.Core.Remote;

namespace Xfn.Core;

/// <summary>Runs functions on an xfn server, or on a fleet of servers.</summary>
/// <remarks>Answers and errors are those of a local runner, with two differences: the error of a failed function has
/// only a few kilobytes of its stdout, and errors of the connection are <see cref="ServerUnavailableException"/>. Make
/// one runner and keep it: it is safe for concurrent use, and keeps its connections.
/// <para>A run goes to one of several servers by its image: a hash of both gives each image an order of the servers,
/// which is the same for all runners. So each server needs few of the images. A run goes to the first of them that has
/// a place for it, and waits only where none has.</para></remarks>
public sealed class RemoteContainerRunner : IContainerRunner
{
    /// <summary>The answer of a server's health service that takes runs: one field. The request is empty. See
    /// <see href="https://github.com/grpc/grpc/blob/master/doc/health-checking.md">grpc.health.v1</see>.</summary>
    private static readonly byte[] Serving = [0x08, 0x01];
    private static readonly Marshaller<byte[]> Bytes = Marshallers.Create(b => b, b => b);
    private static readonly Method<byte[], byte[]> CheckHealth = new(MethodType.Unary, "grpc.health.v1.Health", "Check", Bytes, Bytes);

    private static readonly Method<Offer, Remote.Protocol.RunFunctionResponse> RunFunction = Method(Remote.Protocol.ContainerizedFunctionRunnerService.Descriptor, "RunFunction");
    private static readonly Method<Offer, Remote.Protocol.RunFunctionResponse> RunWithSettings = Method(Remote.Protocol.RunService.Descriptor, "Run");

    /// <summary>The longest that a timer takes.</summary>
    private static readonly TimeSpan LongestDeadline = TimeSpan.FromDays(48);

    private readonly RemoteContainerRunnerOptions _options;
    private readonly string _servers;
    private readonly bool _isFleet;
    private readonly GrpcChannel _channel;
    private readonly ImageTurns _turns = new();
    private readonly CancellationTokenSource _disposal = new();
    private readonly BackgroundTasks _running = new();
    private int _disposed;

    /// <summary>Makes a runner. Nothing is connected yet.</summary>
    /// <param name="address">The server, as <see cref="RemoteContainerRunnerOptions.Addresses"/> writes it; or several,
    /// with commas between them.</param>
    /// <param name="configure">Sets further options. Null, the default, for none.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    public RemoteContainerRunner(string address, Action<RemoteContainerRunnerOptions>? configure = null)
        : this(Configured(address, configure))
    {
    }

    /// <summary>Makes a runner. Nothing is connected yet.</summary>
    /// <param name="options">Its options.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    public RemoteContainerRunner(RemoteContainerRunnerOptions options)
    {
        (_options, ServerAddress[] addresses) = Check(options);
        _servers = string.Join(", ", addresses.Select(a => a.Text));
        _isFleet = addresses.Length > 1 || addresses[0].Kind == ServerAddressKind.Dns;
        _channel = ServerChannel.Make(addresses, _options);
    }

    /// <inheritdoc/>
    /// <exception cref="ServerUnavailableException">No server answered.</exception>
    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        (Method<Offer, Remote.Protocol.RunFunctionResponse> method, IMessage message) = ToCall(request);
        if (request.Input.Length > _options.MaxStdioBytes)
            throw TooLarge(request.Input.Length.ToString(CultureInfo.InvariantCulture));
        return await TrackAsync(token => OfferAsync(method, message, request, token), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Runs a function once. The server has the whole input before it starts the function, and this runner
    /// gets the whole output after its end. Both are held in memory, up to
    /// <see cref="RemoteContainerRunnerOptions.MaxStdioBytes"/>. Only the tail of stderr is passed on.</summary>
    /// <remarks>The timeout is the server's. When it has answered, only <paramref name="cancellationToken"/> ends the
    /// writing to the streams.</remarks>
    /// <inheritdoc/>
    /// <exception cref="ServerUnavailableException">No server answered.</exception>
    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(streams);
        if (!request.Input.IsEmpty)
            throw new InvalidRequestException("cannot use an input beside a stream for stdin: pass the input as streams.Stdin.");
        _ = ToCall(request);
        return await TrackAsync(
            async token =>
            {
                ReadOnlyMemory<byte> input = await ReadAsync(streams.Stdin, token).ConfigureAwait(false);
                try
                {
                    (Method<Offer, Remote.Protocol.RunFunctionResponse> method, IMessage message) = ToCall(request with { Input = input });
                    RunFunctionResponse response = await OfferAsync(method, message, request, token).ConfigureAwait(false);
                    await WriteAsync(streams, response.Output, response.StderrTail, token).ConfigureAwait(false);
                    return response with { Output = default };
                }
                catch (FunctionFailedException ex)
                {
                    var exited = ex as FunctionExitedException;
                    await WriteAsync(streams, exited?.Output ?? default, ex.StderrTail, token).ConfigureAwait(false);
                    if (exited is null or { Output.IsEmpty: true })
                        throw;
                    throw new FunctionExitedException(ex.Message)
                    {
                        ExitCode = exited.ExitCode,
                        Signal = exited.Signal,
                        OutOfMemory = exited.OutOfMemory,
                        StderrTail = exited.StderrTail,
                        Statistics = exited.Statistics,
                    };
                }
            },
            cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Asks one of the servers whether it takes runs, by gRPC's health service.</summary>
    /// <param name="cancellationToken">Ends the asking.</param>
    /// <returns>Whether it takes runs. True also for a server that answers and has no health service.</returns>
    /// <exception cref="ServerUnavailableException">No server can be reached.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<bool> IsServingAsync(CancellationToken cancellationToken = default) => TrackAsync(
        async token =>
        {
            try
            {
                DateTime deadline = DateTime.UtcNow + _options.ConnectTimeout; // gRPC's clock, which is the system's
                using AsyncUnaryCall<byte[]> call = _channel.CreateCallInvoker().AsyncUnaryCall(CheckHealth, null, new CallOptions(deadline: deadline, cancellationToken: token), []);
                return (await call.ResponseAsync.ConfigureAwait(false)).AsSpan().SequenceEqual(Serving);
            }
            catch (RpcException ex) when (ex.StatusCode == StatusCode.Unimplemented)
            {
                return true;
            }
            catch (RpcException ex) when (!token.IsCancellationRequested)
            {
                throw new ServerUnavailableException(false, $"cannot reach server '{_servers}': {ex.Status.Detail.TrimEnd('.')}. Check the address, and that an xfn server listens there.", ex);
            }
        },
        cancellationToken);

    /// <summary>Cancels the runs that go on, and waits until the calls have ended. The servers kill the functions. Runs
    /// after it throw <see cref="ObjectDisposedException"/>.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _running.WaitAsync().ConfigureAwait(false);
        _channel.Dispose();
    }

    /// <summary>Checks options without making a runner of them.</summary>
    internal static (RemoteContainerRunnerOptions Copy, ServerAddress[] Addresses) Check(RemoteContainerRunnerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        RemoteContainerRunnerOptions copy = options.CheckedCopy();
        if (copy.Addresses.Count == 0)
            throw new ArgumentException("cannot reach a server: no address is given. Set Addresses.");
        ServerAddress[] addresses = [.. copy.Addresses.Select(ServerAddress.Parse)];
        ServerAddressKind kind = addresses[0].Kind;
        return addresses.Length == 1 || kind is ServerAddressKind.Http or ServerAddressKind.Https && addresses.All(a => a.Kind == kind)
            ? (copy, addresses)
            : throw new ArgumentException($"cannot use server addresses '{string.Join("', '", copy.Addresses)}' together: expected one, or several of http:// or of https://.");
    }

    private static RemoteContainerRunnerOptions Configured(string address, Action<RemoteContainerRunnerOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(address);
        var options = new RemoteContainerRunnerOptions { Addresses = address.Split(',', StringSplitOptions.TrimEntries) };
        configure?.Invoke(options);
        return options;
    }

    private static async Task WriteAsync(FunctionStreams streams, ReadOnlyMemory<byte> stdout, string stderr, CancellationToken cancellationToken)
    {
        await streams.Stdout.WriteAsync(stdout, cancellationToken).ConfigureAwait(false);
        await streams.Stderr.WriteAsync(Encoding.UTF8.GetBytes(stderr), cancellationToken).ConfigureAwait(false);
    }

    private static Method<Offer, Remote.Protocol.RunFunctionResponse> Method(ServiceDescriptor service, string name) => new(
        MethodType.Unary,
        service.FullName,
        name,
        new Marshaller<Offer>((offer, context) => offer.Write(context), _ => throw new NotSupportedException("clients do not receive requests")),
        new Marshaller<Remote.Protocol.RunFunctionResponse>(
            (_, _) => throw new NotSupportedException("clients do not send responses"),
            context => Remote.Protocol.RunFunctionResponse.Parser.ParseFrom(context.PayloadAsReadOnlySequence())));

    /// <summary>The method that a request takes, which all servers know where it sets nothing of its container.</summary>
    private static (Method<Offer, Remote.Protocol.RunFunctionResponse> Method, IMessage Message) ToCall(RunFunctionRequest request)
    {
        Remote.Protocol.RunFunctionRequest plain = WireMessages.ToMessage(request);
        return WireSettings.ToMessage(request, plain) is { } withSettings ? (RunWithSettings, withSettings) : (RunFunction, plain);
    }

    private async Task<RunFunctionResponse> OfferAsync(
        Method<Offer, Remote.Protocol.RunFunctionResponse> method, IMessage message, RunFunctionRequest request, CancellationToken cancellationToken)
    {
        TimeSpan timeout = request.RunFunctionConfig.Timeout ?? RunFunctionConfig.DefaultTimeout;
        TimeSpan allowed = timeout < LongestDeadline - _options.PullTimeAllowance ? timeout + _options.PullTimeAllowance : LongestDeadline;
        long begun = _options.TimeProvider.GetTimestamp();
        using var late = new CancellationTokenSource(allowed, _options.TimeProvider);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        var offers = new Offers(_options, _isFleet, _turns.Begin(request.Image, mayWait: !_isFleet));
        while (true)
        {
            XfnException error;
            RetryScope scope;
            offers.Begin();
            var offer = new Offer(message);
            try
            {
                bool mayWait = offers.Turn.MayWait && request.RunFunctionConfig.MayWait;
                RunFunctionResponse response = await CallAsync(method, offer, offers.Turn, mayWait, allowed - _options.TimeProvider.GetElapsedTime(begun), either.Token).ConfigureAwait(false);
                _turns.Remember(offers.Turn);
                return response;
            }
            catch (RpcException ex)
            {
                cancellationToken.ThrowIfCancellationRequested();
                (error, scope) = late.IsCancellationRequested ? (ClientErrors.TooLate(ex, offer.Sent, _servers), RetryScope.None)
                    : method == RunWithSettings && ex.StatusCode == StatusCode.Unimplemented ? (ClientErrors.NoSettings(ex, request, _servers), RetryScope.Elsewhere)
                    : ClientErrors.From(ex, offer.Sent, _servers);
            }

            if (!MayTryAgain(scope) || offers.Next(error, scope) is not { } delay)
                throw error;
            if (scope == RetryScope.IfMayRunTwice)
                RemoteLog.Lost(_options.Logger, request.Image, error.Message, delay);
            else
                RemoteLog.NotTaken(_options.Logger, request.Image, error.Message, delay);
            await Task.Delay(delay, _options.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    private bool MayTryAgain(RetryScope scope) => scope switch
    {
        RetryScope.Anywhere => true,
        RetryScope.Elsewhere => _isFleet,
        RetryScope.IfMayRunTwice => _options.RetryLostRuns,
        _ => false,
    };

    private async Task<RunFunctionResponse> CallAsync(
        Method<Offer, Remote.Protocol.RunFunctionResponse> method, Offer offer, ImageTurn turn, bool mayWait, TimeSpan left, CancellationToken cancellationToken)
    {
        // gRPC tells the server this less now, both by the system's clock. The runner's clock says how long to wait.
        DateTime deadline = DateTime.UtcNow + (left > TimeSpan.Zero ? left : TimeSpan.Zero);
        var headers = new Metadata { { WireTrailers.AcceptedBytes, ServerChannel.TrailerBytes.ToString(CultureInfo.InvariantCulture) } };
        if (!mayWait)
            headers.Add(WireTrailers.MayWait, "false");
        ImageTurn.Current = turn;
        using AsyncUnaryCall<Remote.Protocol.RunFunctionResponse> call =
            _channel.CreateCallInvoker().AsyncUnaryCall(method, null, new CallOptions(headers, deadline, cancellationToken), offer);
        Remote.Protocol.RunFunctionResponse response = await call.ResponseAsync.ConfigureAwait(false);
        return WireMessages.FromMessage(response, call.GetTrailers());
    }

    private async Task<ReadOnlyMemory<byte>> ReadAsync(Stream stdin, CancellationToken cancellationToken)
    {
        var input = new BufferSink(_options.MaxStdioBytes);
        var chunk = new byte[64 << 10];
        for (int count; (count = await stdin.ReadAsync(chunk, cancellationToken).ConfigureAwait(false)) > 0;)
        {
            if (!await input.WriteAsync(chunk.AsMemory(0, count), cancellationToken).ConfigureAwait(false))
                throw TooLarge("more");
        }

        return input.Content;
    }

    private InvalidRequestException TooLarge(string bytes) =>
        new($"cannot send an input of {bytes} bytes to a server: at most {_options.MaxStdioBytes} are allowed. Raise the limit (option MaxStdioBytes), here and there.");

    /// <summary>Does something that ends with the runner, and that the runner's end waits for.</summary>
    private async Task<T> TrackAsync<T>(Func<CancellationToken, Task<T>> operation, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposal.Token);
        try
        {
            return await _running.Add(operation(either.Token)).ConfigureAwait(false);
        }
        catch (Exception ex) when (cancellationToken.IsCancellationRequested && ex is OperationCanceledException or RpcException)
        {
            throw new OperationCanceledException("The run was cancelled.", ex, cancellationToken);
        }
        catch (Exception ex) when (_disposed != 0 && ex is OperationCanceledException or RpcException)
        {
            throw new ObjectDisposedException(nameof(RemoteContainerRunner), "the runner was disposed while the function ran");
        }
    }

    /// <summary>One offer of a run to a server.</summary>
    private sealed class Offer(IMessage message)
    {
        /// <summary>Whether any of the message may have left: gRPC takes its bytes when it is connected. A server
        /// starts nothing before it has all of them.</summary>
        public bool Sent { get; private set; }

        public void Write(SerializationContext context)
        {
            Sent = true;
            context.SetPayloadLength(message.CalculateSize());
            message.WriteTo(context.GetBufferWriter());
            context.Complete();
        }
    }
}

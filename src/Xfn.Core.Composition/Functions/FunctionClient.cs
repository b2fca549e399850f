using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Xfn.Core.Composition.Functions;
using Xfn.Core.Registry;
using Xfn.Core.Services;

namespace Xfn.Core.Composition;

/// <summary>Calls a function that is served by gRPC: in containers of its image, in one container, or at an address.</summary>
/// <remarks>
/// <para>Version 1 of the service is called. When the function does not implement that, version 1beta1 is, from then on
/// first.</para>
/// <para>Safe for concurrent use. Disposal ends the containers that it started.</para>
/// </remarks>
public sealed class FunctionClient : ICompositionFunction, IAsyncDisposable
{
    /// <summary>The port at which functions listen.</summary>
    public const int DefaultPort = 9443;

    /// <summary>The argument by which a function is told to listen without TLS.</summary>
    public const string InsecureArgument = "--insecure";

    private const int MaxDetail = 500;

    private readonly IFunctionTarget _target;
    private readonly FunctionClientOptions _options;
    private readonly string _where;
    private volatile bool _isBeta;

    private FunctionClient(IFunctionTarget target, FunctionClientOptions options, string where) =>
        (_target, _options, _where, Name) = (target, options, where, options.Name ?? where);

    /// <summary>The function's name, as messages have it.</summary>
    public string Name { get; }

    /// <summary>Calls a function of an image. Its container is started by the first call, or by <see cref="StartAsync"/>,
    /// with the argument <c>--insecure</c> instead of the image's command.</summary>
    /// <param name="host">What starts it.</param>
    /// <param name="image">The image's reference.</param>
    /// <param name="options">How it is called. Null, the default, for the defaults.</param>
    /// <inheritdoc cref="ForImage(IContainerHost, ContainerRequest, FunctionClientOptions?)" path="/exception"/>
    public static FunctionClient ForImage(IContainerHost host, string image, FunctionClientOptions? options = null) =>
        ForImage(host, new ContainerRequest { Image = image }, options);

    /// <summary>Calls a function of an image, in a container of one's own description.</summary>
    /// <param name="host">What starts it.</param>
    /// <param name="request">What is started. Without arguments it gets <c>--insecure</c>, or none for TLS; if it does not
    /// say when it is ready, that is when it listens.</param>
    /// <param name="options">How it is called. Null, the default, for the defaults.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    public static FunctionClient ForImage(IContainerHost host, ContainerRequest request, FunctionClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(request);
        FunctionClientOptions checkedOptions = (options ?? new()).CheckedCopy();
        FunctionCertificates? certificates = checkedOptions.UseTls ? new() : null;
        return new FunctionClient(new ServiceTarget(host, Described(request, checkedOptions, certificates), checkedOptions, certificates), checkedOptions, request.Image);
    }

    /// <summary>Calls a function in a container that somebody else started, and ends.</summary>
    /// <param name="container">The container.</param>
    /// <param name="options">How it is called. Null, the default, for the defaults.</param>
    /// <inheritdoc cref="ForImage(IContainerHost, ContainerRequest, FunctionClientOptions?)" path="/exception"/>
    public static FunctionClient ForContainer(RunningContainer container, FunctionClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(container);
        FunctionClientOptions checkedOptions = WithoutTls(options);
        return new FunctionClient(new ConnectionTarget(FunctionConnection.To(container, checkedOptions, certificates: null), mayRepeat: false), checkedOptions, container.Image);
    }

    /// <summary>Calls a function at an address.</summary>
    /// <param name="target"><c>HOST:PORT</c> or <c>http://HOST:PORT</c> without TLS, <c>https://HOST:PORT</c> with the
    /// authorities that this machine trusts, or <c>unix:PATH</c>.</param>
    /// <param name="options">How it is called. Null, the default, for the defaults.</param>
    /// <exception cref="ArgumentException">The address is none; or an option makes no sense.</exception>
    public static FunctionClient ForAddress(string target, FunctionClientOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(target);
        FunctionClientOptions checkedOptions = WithoutTls(options);
        return new FunctionClient(new ConnectionTarget(ConnectionTarget.To(target, checkedOptions), checkedOptions.IsPure), checkedOptions, target);
    }

    /// <summary>Starts a function of an image ahead of its first call, and waits until it listens. It does nothing for
    /// others.</summary>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <exception cref="FunctionCallException">It could not be started, or did not listen in time.</exception>
    /// <exception cref="XfnException">The image could not be had, or this machine runs no containers.</exception>
    public async Task StartAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            await _target.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (ContainerException ex)
        {
            throw NotReady(ex);
        }
    }

    /// <inheritdoc cref="RunAsync(Protocol.RunFunctionRequest, TimeSpan, CancellationToken)"/>
    /// <remarks>It may take <see cref="FunctionClientOptions.Timeout"/>.</remarks>
    public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default) =>
        RunAsync(request, _options.Timeout, cancellationToken);

    /// <summary>Calls the function.</summary>
    /// <param name="request">What it is asked.</param>
    /// <param name="timeout">How long the answer may take, from when the function is ready. More than 0, at most 24
    /// days.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The answer, which may have a result of severity fatal.</returns>
    /// <exception cref="FunctionCallException">There was no answer.</exception>
    /// <exception cref="XfnException">The image could not be had, or this machine runs no containers.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The time is out of its range.</exception>
    /// <exception cref="ObjectDisposedException">The client was disposed.</exception>
    public async Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(timeout, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(timeout, TimeSpan.FromDays(24));
        if (request.CalculateSize() is var size && size > _options.MaxMessageBytes)
            throw Failure(FunctionCallFailure.MessageTooLarge, $"the request has {size} bytes, at most {_options.MaxMessageBytes} are sent. Raise MaxMessageBytes, or send less");
        FunctionConnection? used = null;
        try
        {
            return await _target.CallAsync(
                (connection, token) =>
                {
                    used = connection;
                    return CallAsync(connection.Invoker, request, timeout, token);
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException ex)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw await ExplainAsync(ex, used!, timeout).ConfigureAwait(false);
        }
        catch (ContainerEndedException ex) when (ex.WasReady)
        {
            throw Died(ex);
        }
        catch (ContainerException ex)
        {
            throw NotReady(ex);
        }
    }

    /// <summary>Ends the containers that it started, and its connections.</summary>
    public ValueTask DisposeAsync() => _target.DisposeAsync();

    private static FunctionClientOptions WithoutTls(FunctionClientOptions? options)
    {
        FunctionClientOptions checkedOptions = (options ?? new()).CheckedCopy();
        return !checkedOptions.UseTls
            ? checkedOptions
            : throw new ArgumentException($"cannot use option {nameof(FunctionClientOptions.UseTls)}: the function runs already, without the certificates. Leave it out, or give the image.", nameof(options));
    }

    private static ContainerRequest Described(ContainerRequest request, FunctionClientOptions options, FunctionCertificates? certificates)
    {
        ContainerRequest described = request with
        {
            Arguments = request.Arguments ?? (certificates is null ? [InsecureArgument] : []),
            Ready = request.Ready == Ready.Started ? Ready.Listens(options.Port) : request.Ready,
        };
        return certificates is null ? described : described with
        {
            Mounts = [.. request.Mounts, .. certificates.Files],
            Environment = new Dictionary<string, string>(request.Environment) { ["TLS_SERVER_CERTS_DIR"] = FunctionCertificates.Directory },
        };
    }

    private async Task<Protocol.RunFunctionResponse> CallAsync(CallInvoker invoker, Protocol.RunFunctionRequest request, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var call = new CallOptions(deadline: DateTime.UtcNow + timeout, cancellationToken: cancellationToken);
        bool isBeta = _isBeta;
        try
        {
            return await InvokeAsync(isBeta).ConfigureAwait(false);
        }
        catch (RpcException ex) when (ex.StatusCode == StatusCode.Unimplemented)
        {
            Protocol.RunFunctionResponse response = await InvokeAsync(!isBeta).ConfigureAwait(false);
            _isBeta = !isBeta;
            return response;
        }

        async Task<Protocol.RunFunctionResponse> InvokeAsync(bool beta)
        {
            using AsyncUnaryCall<Protocol.RunFunctionResponse> made = invoker.AsyncUnaryCall(beta ? FunctionMethods.V1Beta1 : FunctionMethods.V1, null, call, request);
            return await made.ResponseAsync.ConfigureAwait(false);
        }
    }

    /// <summary>What the status of a call means.</summary>
    private async Task<FunctionCallException> ExplainAsync(RpcException error, FunctionConnection connection, TimeSpan timeout)
    {
        string detail = ServerWords.OneLine(error.Status.Detail, MaxDetail).TrimEnd('.');
        if (Has<InvalidProtocolBufferException>(error) is { } invalid)
            return await WithLogsAsync(FunctionCallFailure.InvalidResponse, $"its answer cannot be read: {invalid.Message.TrimEnd('.')}").ConfigureAwait(false);
        switch (error.StatusCode)
        {
            case StatusCode.DeadlineExceeded:
                string seconds = timeout.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
                return await WithLogsAsync(FunctionCallFailure.DeadlineExceeded, $"it did not answer within {seconds} s. Raise Timeout, or mend the function").ConfigureAwait(false);
            case StatusCode.ResourceExhausted:
                return await WithLogsAsync(
                    FunctionCallFailure.MessageTooLarge,
                    $"a message is too large ({detail}). Answers may have {_options.MaxMessageBytes} bytes: raise MaxMessageBytes. A function may take less: many take 4 MiB, and have an argument such as --max-recv-message-size").ConfigureAwait(false);
            case StatusCode.Unimplemented:
                return await WithLogsAsync(
                    FunctionCallFailure.Unimplemented,
                    $"it serves neither version 1 nor 1beta1 of {FunctionMethods.V1.ServiceName} ({detail}). Is it a composition function?").ConfigureAwait(false);
        }

        if (Has<ContainerEndedException>(error) is { } ended)
            return Died(ended);
        if (!IsLost(error))
            return await WithLogsAsync(FunctionCallFailure.Failed, $"it answered with status {error.StatusCode} ({detail})").ConfigureAwait(false);

        // A connection breaks a moment before its container is known as ended.
        if (connection.Container is { } container)
        {
            await ((Task)container.Exited).WaitAsync(FunctionInstance.LastAnswers).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (container.Exited.IsCompleted)
                return await WithLogsAsync(FunctionCallFailure.Died, $"its container {await container.Exited.ConfigureAwait(false)} in mid-call").ConfigureAwait(false);
        }

        if (connection.Address.Scheme == Uri.UriSchemeHttp && await connection.SpeaksTlsAsync().ConfigureAwait(false))
            return await WithLogsAsync(FunctionCallFailure.WantsTls, $"it speaks TLS alone. Let it heed {InsecureArgument}, or call it by TLS (UseTls, or an address of https)").ConfigureAwait(false);
        return await WithLogsAsync(FunctionCallFailure.Unreachable, $"'{_where}' does not answer, or broke off ({ServerWords.OneLine((Has<HttpRequestException>(error) ?? (Exception)error).Message, MaxDetail).TrimEnd('.')})").ConfigureAwait(false);

        async Task<FunctionCallException> WithLogsAsync(FunctionCallFailure reason, string found) =>
            Failure(reason, found, error, connection.Container is { } logged ? await FunctionInstance.LogTailAsync(logged).ConfigureAwait(false) : "");
    }

    /// <summary>Whether a call has no answer because its connection broke, or there was none.</summary>
    internal static bool IsLost(RpcException error) =>
        Has<InvalidProtocolBufferException>(error) is null && (Has<HttpRequestException>(error) is not null || Has<IOException>(error) is not null);

    private static T? Has<T>(RpcException error)
        where T : Exception
    {
        for (Exception? cause = error.Status.DebugException ?? error.InnerException; cause is not null; cause = cause.InnerException)
        {
            if (cause is T found)
                return found;
        }

        return null;
    }

    private FunctionCallException Died(ContainerEndedException ended) => Failure(FunctionCallFailure.Died, $"its container {ended.Exit} in mid-call", ended, ended.LogTail);

    private FunctionCallException NotReady(ContainerException error) =>
        new(FunctionCallFailure.NotReady, $"cannot call function '{Name}': {error.Message}", error) { Function = Name, LogTail = error.LogTail };

    private FunctionCallException Failure(FunctionCallFailure reason, string found, Exception? cause = null, string logTail = "")
    {
        string line = ContainerErrors.LastLine(logTail);
        return new FunctionCallException(reason, $"cannot call function '{Name}': {found}{(found.EndsWith('?') ? "" : ".")}{line}", cause) { Function = Name, LogTail = logTail };
    }
}

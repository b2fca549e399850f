using System.Threading.Channels;

namespace Xfn.Core.Spark;

/// <summary>What a runner asks of a spark whose container lives: each request has a number, many may be under way, and
/// answers come in any order.</summary>
internal sealed class SparkConversation
{
    private readonly SparkProcess _spark;
    private readonly Lock _lock = new();
    private readonly Dictionary<int, SparkRequest> _requests = [];

    // Sent one behind the other, on the thread of whoever asks where it is free.
    private readonly Channel<object> _outgoing = Channel.CreateUnbounded<object>(new() { SingleReader = true, AllowSynchronousContinuations = true });
    private int _last;
    private bool _isOver;

    /// <summary>Begins once the container has started: from now on nobody else reads what the spark says.</summary>
    public SparkConversation(SparkProcess spark)
    {
        _spark = spark;
        _ = SendAsync();
        Exited = ReadAsync();
    }

    /// <summary>How the container ended; null when the spark ended without a word of it. Never faults.</summary>
    public Task<SparkExited?> Exited { get; }

    /// <summary>Why there is no word of how the container ended, once <see cref="Exited"/> has ended: its program was not
    /// executed (<see cref="SparkFailedException"/>), or the spark was killed.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Sends what gets no answer. When the container has ended nothing happens: that is told by
    /// <see cref="Exited"/>.</summary>
    public void Post(object message) => _outgoing.Writer.TryWrite(message);

    /// <summary>Asks for something that one message answers.</summary>
    /// <param name="message">Makes the request of its number.</param>
    /// <param name="cancellationToken">Ends the waiting. What comes of it later is given back.</param>
    /// <exception cref="SparkFailedException">It could not be done.</exception>
    /// <exception cref="SparkGoneException">The container ended meanwhile, or before.</exception>
    public async Task<T> AskAsync<T>(Func<int, object> message, CancellationToken cancellationToken)
        where T : class
    {
        using SparkRequest request = Begin(message, endsLater: false, cancellationToken);
        return await request.ReceiveAsync<T>(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Asks for something that goes on: <see cref="SparkOpened"/> is followed by another message at its end.
    /// </summary>
    /// <inheritdoc cref="AskAsync"/>
    /// <returns>To be disposed: a process or copy that goes on then is killed.</returns>
    public SparkRequest Begin(Func<int, object> message, CancellationToken cancellationToken) => Begin(message, endsLater: true, cancellationToken);

    private SparkRequest Begin(Func<int, object> message, bool endsLater, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        SparkRequest request;
        lock (_lock)
        {
            if (_isOver)
                throw new SparkGoneException();
            request = new SparkRequest(this, ++_last, endsLater);
            _requests.Add(request.Id, request);
        }

        Post(message(request.Id));
        return request;
    }

    private async Task SendAsync()
    {
        try
        {
            await foreach (object message in _outgoing.Reader.ReadAllAsync().ConfigureAwait(false))
                await _spark.SendAsync(message, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or ObjectDisposedException)
        {
            // It has ended, and so do the requests.
        }
    }

    private async Task<SparkExited?> ReadAsync()
    {
        try
        {
            while (await _spark.ReceiveAsync<object>(RunStage.Run, CancellationToken.None).ConfigureAwait(false) is var message)
            {
                if (message is SparkExited exited)
                    return exited;
                if (!TryPassOn(message))
                {
                    // Only a spark that was taken over answers what nobody asked.
                    _spark.Kill();
                    Failure = new ContainerEnvironmentException(RunStage.Run, $"cannot understand xfn-spark: it sent {message.GetType().Name}, for which nobody asked. Is it of this version?");
                    return null;
                }
            }

            return null;
        }
        catch (Exception ex) when (ex is SparkFailedException or XfnException or IOException or ObjectDisposedException)
        {
            Failure = ex;
            return null;
        }
        finally
        {
            End();
        }
    }

    private bool TryPassOn(object message)
    {
        int? id = message switch
        {
            SparkOpened opened => opened.Id,
            SparkEnded ended => ended.Id,
            SparkCopied copied => copied.Id,
            SparkDone done => done.Id,
            SparkRefused refused => refused.Id,
            _ => null,
        };
        if (id is null)
            return false;
        SparkRequest? request;
        lock (_lock)
        {
            if (!_requests.TryGetValue(id.Value, out request))
                return false;
            if (message is not SparkOpened || !request.EndsLater)
                _requests.Remove(request.Id);
        }

        return request.TryTake(message);
    }

    private void End()
    {
        SparkRequest[] left;
        lock (_lock)
        {
            _isOver = true;
            _outgoing.Writer.TryComplete();
            left = [.. _requests.Values];
            _requests.Clear();
        }

        foreach (SparkRequest request in left)
            request.End();
    }
}

/// <summary>A request to a spark, and what it answers.</summary>
/// <param name="conversation">Where it was made.</param>
/// <param name="id">Its number.</param>
/// <param name="endsLater">Whether something goes on once it is opened.</param>
internal sealed class SparkRequest(SparkConversation conversation, int id, bool endsLater) : IDisposable
{
    /// <summary>It is opened, and ends.</summary>
    private const int MostAnswers = 2;

    private readonly Channel<object> _answers = Channel.CreateBounded<object>(MostAnswers);
    private bool _isUnwanted;
    private bool _hasEnded;

    public int Id => id;

    public bool EndsLater => endsLater;

    /// <summary>The next answer.</summary>
    /// <inheritdoc cref="SparkConversation.AskAsync" path="/exception"/>
    public async Task<T> ReceiveAsync<T>(CancellationToken cancellationToken)
        where T : class
    {
        try
        {
            return await _answers.Reader.ReadAsync(cancellationToken).ConfigureAwait(false) switch
            {
                T answer => answer,
                SparkRefused refused => throw new SparkFailedException(refused.Failure),
                object other => throw new ContainerEnvironmentException(
                    RunStage.Run, $"cannot understand xfn-spark: it sent {other.GetType().Name}, expected {typeof(T).Name}. Is it of this version?"),
            };
        }
        catch (ChannelClosedException)
        {
            throw new SparkGoneException();
        }
    }

    /// <summary>Takes an answer.</summary>
    /// <returns>Whether it could be one.</returns>
    public bool TryTake(object message)
    {
        lock (_answers)
        {
            _hasEnded |= message is not SparkOpened || !endsLater;
            if (!_isUnwanted)
                return _answers.Writer.TryWrite(message);
        }

        GiveBack(message);
        return true;
    }

    /// <summary>Says that no answer will come.</summary>
    public void End()
    {
        lock (_answers)
            _hasEnded = true;
        _answers.Writer.TryComplete();
    }

    /// <summary>Gives back what was opened and not received, and kills what goes on.</summary>
    public void Dispose()
    {
        lock (_answers)
        {
            if (_isUnwanted)
                return;
            _isUnwanted = true;
            while (_answers.Reader.TryRead(out object? unread))
                GiveBack(unread);
            if (_hasEnded || !endsLater)
                return;
        }

        conversation.Post(new SparkSignal(id, Interop.Posix.SigKill));
    }

    private void GiveBack(object message)
    {
        if (message is SparkOpened { Descriptors.Count: > 0 } opened)
            conversation.Post(new SparkClose(opened.Descriptors));
    }
}

/// <summary>The container has ended, so that its spark does nothing for it any more.</summary>
internal sealed class SparkGoneException() : Exception("the container has ended");

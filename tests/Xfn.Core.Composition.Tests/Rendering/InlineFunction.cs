using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>A function of a few lines, in a test. It passes on what it does not change.</summary>
internal sealed class InlineFunction(Action<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> answer) : ICompositionFunction
{
    /// <summary>What it was asked, call by call.</summary>
    public List<Protocol.RunFunctionRequest> Requests { get; } = [];

    public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        Requests.Add(request.Clone());
        var response = new Protocol.RunFunctionResponse { Desired = request.Desired?.Clone() ?? new State(), Context = request.Context?.Clone() };
        answer(request, response);
        return Task.FromResult(response);
    }

    /// <summary>A function that wants one resource.</summary>
    public static InlineFunction Wanting(string name, string yaml, Protocol.Ready ready = Protocol.Ready.Unspecified) => new((_, response) => Want(response, name, yaml, ready));

    public static void Want(Protocol.RunFunctionResponse response, string name, string yaml, Protocol.Ready ready = Protocol.Ready.Unspecified) =>
        response.Desired.Resources[name] = new Resource { Resource_ = Object(yaml), Ready = ready };

    public static Struct Object(string yaml) => CompositionObjects.Parse(yaml).Single();
}

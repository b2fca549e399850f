using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace HelloFunction;

/// <summary>An emitter that leaves out the "..." behind the document: there is only one.</summary>
internal sealed class ImplicitEnd(IEmitter inner) : IEmitter
{
    public void Emit(ParsingEvent @event) => inner.Emit(@event is DocumentEnd ? new DocumentEnd(isImplicit: true) : @event);
}

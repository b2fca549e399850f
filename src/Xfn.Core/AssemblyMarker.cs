namespace Xfn.Core;
internal static class Placeholder;

using System.Reflection.Metadata.Ecma335;
using System.Text.RegularExpressions;
using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;
using BlobReader = System.Reflection.Metadata.BlobReader;
using DocumentHandle = System.Reflection.Metadata.DocumentHandle;
using EntityHandle = System.Reflection.Metadata.EntityHandle;
using MetadataReader = System.Reflection.Metadata.MetadataReader;
using MetadataReaderProvider = System.Reflection.Metadata.MetadataReaderProvider;

namespace Xfn.Core.TestSupport;

/// <summary>A compiled assembly beside the map in docs/architecture.md: which room each type is in, and which other
/// rooms it uses.</summary>
internal sealed partial class Layering
{
    private static readonly Guid TypeDefinitionDocuments = new("932E74BC-DBA9-4478-8D46-0F32A7BAB3D3");

    private readonly Dictionary<TypeDefinition, (string Folder, string Room)> _types = [];
    private readonly string _namespace;
    private readonly string[] _map;

    private Layering(string root, string[] map) => (_namespace, _map) = (root, map);

    /// <summary>Reads an assembly, and the map.</summary>
    /// <param name="assembly">The assembly's file beside the tests, without its extension.</param>
    /// <param name="project">The project's folder in <c>src</c>.</param>
    /// <param name="root">The namespace of the project's own folder.</param>
    public static Layering Read(string assembly, string project, string root)
    {
        string path = Path.Combine(AppContext.BaseDirectory, assembly + ".dll");
        using var provider = MetadataReaderProvider.FromPortablePdbStream(File.OpenRead(Path.ChangeExtension(path, ".pdb")));
        MetadataReader symbols = provider.GetMetadataReader();
        var layering = new Layering(root, Map(project));
        foreach (TypeDefinition type in ModuleDefinition.ReadModule(path).Types)
        {
            // What compilers make besides has no file in the source.
            if (Documents(symbols, type).Select(d => Folder(d, project)).OfType<string>().FirstOrDefault() is { } folder)
                layering._types.Add(type, (folder, folder.Split('/')[0]));
        }

        return layering;
    }

    /// <summary>The folders that the map has no row for.</summary>
    public IEnumerable<string> Unmapped() => _types.Values.Select(t => t.Room).Distinct().Where(room => room.Length > 0 && !_map.Contains(room));

    /// <summary>What uses a room below its own.</summary>
    public IEnumerable<string> Upward() => (
        from type in _types
        from used in Used(type.Key).Distinct()
        where _types.ContainsKey(used)
        let there = _types[used].Room
        where Rank(there) > Rank(type.Value.Room)
        select $"{type.Key.Name} of {type.Value.Room}/ uses {used.Name} of {there}/").Distinct();

    /// <summary>The types whose namespace is not that of their folder. What users name is in the namespace of all, and in
    /// the room that it belongs to.</summary>
    public IEnumerable<string> Misplaced() => _types
        .Where(t => !(t.Key.Namespace == _namespace && t.Key.IsPublic) && t.Value.Folder.Length > 0)
        .Where(t => t.Key.Namespace != $"{_namespace}.{t.Value.Folder.Replace('/', '.')}")
        .Select(t => $"{t.Key.FullName} is in {t.Value.Folder}/");

    // What lies in no room puts the rooms together.
    private int Rank(string room) => room.Length == 0 ? _map.Length : Array.IndexOf(_map, room);

    /// <summary>A project's rooms in docs/architecture.md, from the first row of its table to the last.</summary>
    private static string[] Map(string project)
    {
        string[] lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "architecture.md"));
        string[] rooms = [.. lines.SkipWhile(line => !line.StartsWith($"| room of `src/{project}`", StringComparison.Ordinal))
            .TakeWhile(line => line.StartsWith('|')).Select(line => Room().Match(line)).Where(m => m.Success).Select(m => m.Groups[1].Value)];
        Assert.That(rooms, Is.Not.Empty, "the map was not found");
        return rooms;
    }

    [GeneratedRegex(@"^\| `(\w+)/`", RegexOptions.CultureInvariant)]
    private static partial Regex Room();

    private static IEnumerable<TypeDefinition> Used(TypeDefinition type) => References(type)
        .SelectMany(Elements).Select(r => r.Scope == type.Module ? r.Resolve() : null).OfType<TypeDefinition>().Select(Outermost);

    private static IEnumerable<TypeReference?> References(TypeDefinition type) =>
    [
        type.BaseType,
        .. type.Interfaces.Select(i => i.InterfaceType),
        .. type.Fields.Select(f => f.FieldType),
        .. type.GenericParameters.Concat(type.Methods.SelectMany(m => m.GenericParameters)).SelectMany(p => p.Constraints).Select(c => c.ConstraintType),
        .. type.Methods.SelectMany(m => (IEnumerable<TypeReference>)[m.ReturnType, .. m.Parameters.Select(p => p.ParameterType)]),
        .. type.Methods.Where(m => m.HasBody).SelectMany(m => m.Body.Variables).Select(v => v.VariableType),
        .. type.Methods.Where(m => m.HasBody).SelectMany(m => m.Body.ExceptionHandlers).Select(h => h.CatchType),
        .. type.Methods.Where(m => m.HasBody).SelectMany(m => m.Body.Instructions).SelectMany(Operands),
        .. type.NestedTypes.SelectMany(References),
    ];

    private static IEnumerable<TypeReference?> Operands(Instruction instruction) => instruction.Operand switch
    {
        GenericInstanceMethod method => [method.DeclaringType, .. method.GenericArguments],
        MemberReference member and not TypeReference => [member.DeclaringType],
        TypeReference type => [type],
        _ => [],
    };

    // The types that a type is composed of: List<T[]> has List, and T.
    private static IEnumerable<TypeReference> Elements(TypeReference? type) => type switch
    {
        null or GenericParameter => [],
        GenericInstanceType generic => [generic.ElementType, .. generic.GenericArguments.SelectMany(Elements)],
        TypeSpecification of => Elements(of.ElementType),
        _ => [type],
    };

    private static TypeDefinition Outermost(TypeDefinition type) => type.DeclaringType is { } outer ? Outermost(outer) : type;

    private static string? Folder(string document, string project)
    {
        string folderOf = $"/src/{project}/";
        int at = document.LastIndexOf(folderOf, StringComparison.Ordinal);
        string? folder = at < 0 ? null : Path.GetDirectoryName(document[(at + folderOf.Length)..]);
        return folder is null || folder == "obj" || folder.StartsWith("obj/", StringComparison.Ordinal) ? null : folder;
    }

    private static IEnumerable<string> Documents(MetadataReader symbols, TypeDefinition type)
    {
        IEnumerable<DocumentHandle> ofMethods = type.GetMethods().Concat(type.GetConstructors()).Concat(type.NestedTypes.SelectMany(t => t.Methods))
            .Select(m => symbols.GetMethodDebugInformation(MetadataTokens.MethodDebugInformationHandle((int)m.MetadataToken.RID)).Document)
            .Where(document => !document.IsNil);
        EntityHandle row = MetadataTokens.TypeDefinitionHandle((int)type.MetadataToken.RID);
        // A type without code has its documents beside it.
        IEnumerable<DocumentHandle> ofType = symbols.GetCustomDebugInformation(row).Select(symbols.GetCustomDebugInformation)
            .Where(i => symbols.GetGuid(i.Kind) == TypeDefinitionDocuments).SelectMany(i => Rows(symbols.GetBlobReader(i.Value)));
        return ofMethods.Concat(ofType).Select(document => symbols.GetString(symbols.GetDocument(document).Name));
    }

    private static List<DocumentHandle> Rows(BlobReader blob)
    {
        var rows = new List<DocumentHandle>();
        while (blob.RemainingBytes > 0)
            rows.Add(MetadataTokens.DocumentHandle(blob.ReadCompressedInteger()));
        return rows;
    }
}

// Only code whose language is named is coloured: a guess makes C# of a command.
export default { configureHljs: hljs => hljs.configure({ languages: [] }) }

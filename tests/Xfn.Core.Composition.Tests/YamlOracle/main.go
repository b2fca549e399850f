// Reads lines of JSON strings, each a YAML document; answers each with a line of JSON: what Kubernetes' library for YAML makes of it.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/ghodss/yaml"
)

type answer struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	YAML  string          `json:"yaml"`
	Error string          `json:"error,omitempty"`
}

func ask(document string) (made answer) {
	read, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		return answer{Error: err.Error()}
	}
	written, err := yaml.JSONToYAML(read)
	if err != nil {
		return answer{JSON: read, Error: err.Error()}
	}
	return answer{JSON: read, YAML: string(written)}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var document string
		if err := json.Unmarshal(lines.Bytes(), &document); err != nil {
			panic(err)
		}
		line, err := json.Marshal(ask(document))
		if err != nil {
			panic(err)
		}
		out.Write(append(line, '\n'))
	}
}

// Package control is how tests drive a node: JSON objects, one a line, on stdin and stdout.
//
// A command is {"id": 7, "do": "pay", ...}; its answer {"id": 7, "ok": {...}} or
// {"id": 7, "error": "text"}. Commands run side by side: an answer may come long after its command
// and after those of later ones. What happens by itself is {"event": "...", ...}.
package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// Fields is a JSON object.
type Fields map[string]any

// Command is what a test asks for. Args has everything in the line, "id" and "do" included.
type Command struct {
	ID   int    `json:"id"`
	Do   string `json:"do"`
	Args json.RawMessage
}

// Into reads the command's arguments into a struct.
func (c Command) Into(args any) error {
	if err := json.Unmarshal(c.Args, args); err != nil {
		return fmt.Errorf("%s: %w", c.Do, err)
	}
	return nil
}

// Handler does what a command says.
type Handler func(Command) (Fields, error)

var writing sync.Mutex

// Write writes one line.
func Write(fields Fields) {
	line, err := json.Marshal(fields)
	if err != nil {
		line, _ = json.Marshal(Fields{"event": "error", "text": err.Error()})
	}
	writing.Lock()
	defer writing.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// Event tells what happened by itself.
func Event(kind string, fields Fields) {
	line := Fields{"event": kind}
	for name, value := range fields {
		line[name] = value
	}
	Write(line)
}

// First reads the first line of a stream into config.
func First(in *bufio.Reader, config any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	return json.Unmarshal(line, config)
}

// Serve carries out commands, each in a goroutine of its own, until the stream ends.
func Serve(in *bufio.Reader, handlers map[string]Handler) error {
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		command := Command{Args: line}
		if err := json.Unmarshal(line, &command); err != nil {
			Event("error", Fields{"text": "not a command: " + err.Error()})
			continue
		}
		go answer(command, handlers[command.Do])
	}
}

func answer(command Command, handler Handler) {
	defer func() {
		if what := recover(); what != nil {
			Write(Fields{
				"id": command.ID, "error": fmt.Sprintf("panic: %v", what), "stack": string(debug.Stack()),
			})
		}
	}()
	if handler == nil {
		Write(Fields{"id": command.ID, "error": "no such command: " + command.Do})
		return
	}
	result, err := handler(command)
	if err != nil {
		Write(Fields{"id": command.ID, "error": err.Error()})
		return
	}
	if result == nil {
		result = Fields{}
	}
	Write(Fields{"id": command.ID, "ok": result})
}

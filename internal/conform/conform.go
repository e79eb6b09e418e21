// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package conform checks in tests that JSON is as its schema says.
package conform

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Lines fails the test if a line is no object of the JSON schema, and returns how many
// lines there are.
func Lines(t testing.TB, schema, lines []byte) (n int) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(lines) {
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatalf("%s%v", line, err)
		}
		if err := compiled.Validate(instance); err != nil {
			t.Fatalf("%s%v", line, err)
		}
		n++
	}
	return n
}

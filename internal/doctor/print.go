// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/copenclose/copenclose/internal/escape"
)

// WriteTable writes a line for each finding, for people.
func WriteTable(out io.Writer, findings []Finding) error {
	var b strings.Builder
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	for _, f := range findings {
		line := fmt.Sprintf("%-9s %-*s %s", f.Status, width, f.Check, f.Found)
		if f.Lost != "" {
			line += "; lost: " + f.Lost
		}
		if f.Do != "" {
			line += "; do: " + f.Do
		}
		b.WriteString(escape.String(line) + "\n")
	}
	_, err := io.WriteString(out, b.String())
	if err != nil {
		return fmt.Errorf("write the findings: %w", err)
	}
	return nil
}

// WriteJSON writes an object a line for each finding.
func WriteJSON(out io.Writer, findings []Finding) error {
	var b []byte
	for _, f := range findings {
		b = append(b, '{')
		for i, field := range [...]struct{ key, value string }{
			{"check", f.Check}, {"status", string(f.Status)}, {"found", f.Found}, {"lost", f.Lost}, {"do", f.Do},
		} {
			if field.value == "" {
				continue
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `"`+field.key+`":"`...)
			b, _ = escape.AppendJSON(b, []byte(field.value))
			b = append(b, '"')
		}
		b = append(b, "}\n"...)
	}
	if _, err := out.Write(b); err != nil {
		return fmt.Errorf("write the findings: %w", err)
	}
	return nil
}

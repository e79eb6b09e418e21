// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// writeLicenses writes a table of the components and then their texts. A text that
// several have is written once.
func writeLicenses(to io.Writer, components []component) error {
	w := bufio.NewWriter(to)
	fmt.Fprint(w, `copenclose is licensed under the Apache License 2.0, its programs in the kernel
under the GPL 2.0 or the BSD 2-clause licence. A static binary also has the parts
below. Its source, with the Makefile that links it, is public: whoever wants another
version of libelf or glibc in it, which are under the LGPL, can build it with that.

`)
	width := 0
	for _, c := range components {
		width = max(width, len(c.name)+1+len(c.version))
	}
	for _, c := range components {
		fmt.Fprintf(w, "%-*s  %s\n", width, c.name+" "+c.version, c.license)
		if c.source != "" {
			fmt.Fprintf(w, "    from %s\n", c.source)
		}
	}
	first := map[string]string{}
	for _, c := range components {
		for _, t := range c.texts {
			fmt.Fprintf(w, "\n%s\n%s %s: %s\n%[1]s\n\n", strings.Repeat("=", 80), c.name, c.version, t.name)
			body := strings.Trim(strings.ReplaceAll(t.text, "\r\n", "\n"), "\n")
			if with := first[body]; with != "" {
				fmt.Fprintf(w, "The same as %s.\n", with)
				continue
			}
			first[body] = "that of " + c.name
			fmt.Fprintln(w, body)
		}
	}
	return w.Flush()
}

// The parts of CycloneDX 1.6 that we fill.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []part       `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component part `json:"component"`
	}
	part struct {
		Type      string      `json:"type"`
		Ref       string      `json:"bom-ref"`
		Name      string      `json:"name"`
		Version   string      `json:"version"`
		Hashes    []hash      `json:"hashes,omitempty"`
		Licenses  []license   `json:"licenses"`
		PURL      string      `json:"purl,omitempty"`
		Reference []reference `json:"externalReferences,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	license struct {
		Expression string `json:"expression"`
	}
	reference struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// writeSBOM writes the components as a CycloneDX document, which has no date and no
// random number: two builds have the same.
func (p *product) writeSBOM(w io.Writer, components []component) error {
	doc := bom{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1}
	for i, c := range components {
		one := part{Type: "library", Ref: c.purl, Name: c.name, Version: c.version,
			Licenses: []license{{c.license}}, PURL: c.purl}
		if one.Ref == "" {
			one.Ref = c.name
		}
		if strings.HasPrefix(c.source, "https://") {
			one.Reference = []reference{{"website", c.source}}
		}
		if i == 0 {
			one.Type = "application"
			doc.Metadata.Component = one
			doc.Dependencies = []dependency{{Ref: one.Ref}}
			continue
		}
		if c.file != "" {
			content, err := os.ReadFile(c.file)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(content)
			one.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
		}
		doc.Components = append(doc.Components, one)
		doc.Dependencies[0].DependsOn = append(doc.Dependencies[0].DependsOn, one.Ref)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(doc)
}

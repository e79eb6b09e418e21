// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Command inventory lists what is linked into the binary: the Go modules, and the C
// libraries with their versions. It writes the licence texts that the binary must
// carry, or a software bill of materials.
package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// product is what is built, and from what.
type product struct {
	version, arch string
	goTool, tags  string
	cc            string   // the C compiler, whose runtime library is linked, too
	libbpf        string   // its source tree
	sysroot       string   // where another architecture's libraries are, empty for this machine's
	objects       []string // the programs in the kernel, compiled
}

// component is one part of a binary.
type component struct {
	name, version string
	license       string // SPDX expression
	purl          string // package URL
	source        string // where the source is
	file          string // that is embedded, if it is one
	texts         []text
}

// text is a licence, or a list of who wrote what.
type text struct{ name, text string }

func main() {
	var p product
	flag.StringVar(&p.version, "version", "", "the product's version")
	flag.StringVar(&p.arch, "arch", "amd64", "the binary's architecture, as Go calls it")
	flag.StringVar(&p.goTool, "go", "go", "the go command")
	flag.StringVar(&p.tags, "tags", "", "the binary's build tags")
	flag.StringVar(&p.cc, "cc", "cc", "the C compiler")
	flag.StringVar(&p.libbpf, "libbpf", "build/libbpf/source", "libbpf's source tree")
	flag.StringVar(&p.sysroot, "sysroot", "", "unpacked libraries of another architecture")
	objects := flag.String("objects", "", "files of compiled programs, separated by spaces")
	licenses := flag.String("licenses", "", "write licence texts to this file, compressed")
	sbom := flag.String("sbom", "", "write a bill of materials (CycloneDX, JSON) to this file")
	flag.Parse()
	p.objects = strings.Fields(*objects)

	components, err := p.components()
	if err == nil && *licenses != "" {
		err = write(*licenses, func(w io.Writer) error {
			z, _ := gzip.NewWriterLevel(w, gzip.BestCompression) // the level is valid
			if err := writeLicenses(z, components); err != nil {
				return err
			}
			return z.Close()
		})
	}
	if err == nil && *sbom != "" {
		err = write(*sbom, func(w io.Writer) error { return p.writeSBOM(w, components) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

func write(name string, fill func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

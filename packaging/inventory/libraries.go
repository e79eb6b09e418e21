// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// library is a C library of the distribution that is linked statically.
type library struct {
	name, license string
	source, pkg   string   // Debian's source package, and the package with the static library
	common        []string // licence texts that the package's own file only names
}

func (p *product) linked() ([]library, error) {
	major, err := p.output(p.cc, "-dumpversion")
	if err != nil {
		return nil, err
	}
	gcc := "gcc-" + strings.TrimSpace(major)
	cross := ""
	if p.sysroot != "" {
		cross = "-" + p.arch + "-cross"
	}
	return []library{
		{"libelf", "LGPL-3.0-or-later", "elfutils", "libelf-dev", []string{"LGPL-3", "GPL-3"}},
		{"zlib", "Zlib", "zlib", "zlib1g-dev", nil},
		{"glibc", "LGPL-2.1-or-later", "glibc", "libc6-dev" + cross, []string{"LGPL-2.1"}},
		{"libgcc", "GPL-3.0-or-later WITH GCC-exception-3.1", gcc, "lib" + gcc + "-dev" + cross, nil},
	}, nil
}

// outsideDebian stands for the texts of a library that no Debian package has.
var outsideDebian = text{"note", "This binary was not built on Debian: the licence of the library is with the package it came from.\n"}

// libraries returns the linked C libraries with the versions of the packages that
// they came from, and Debian's files about their authors and licences.
func (p *product) libraries() (found []component, err error) {
	linked, err := p.linked()
	if err != nil {
		return nil, err
	}
	_, err = exec.LookPath("dpkg-query")
	debian := err == nil
	for _, l := range linked {
		if !debian {
			found = append(found, component{name: l.name, version: "unknown", license: l.license, texts: []text{outsideDebian}})
			continue
		}
		doc, version := "/usr/share/doc", ""
		if unpacked := filepath.Join(p.sysroot, doc, l.pkg); p.sysroot != "" && exists(unpacked) {
			doc = filepath.Dir(unpacked)
			version, err = unpackedVersion(filepath.Join(p.sysroot, "packages"), l.pkg)
		} else {
			version, err = p.output("dpkg-query", "-W", "-f", "${Version}\n", l.pkg)
			version, _, _ = strings.Cut(version, "\n") // one line for each installed architecture
		}
		if err != nil {
			return nil, fmt.Errorf("the version and licence of %s come from Debian's package: %w", l.name, err)
		}
		version = rebuilt.ReplaceAllString(version, "")
		files := []string{filepath.Join(doc, l.pkg, "copyright")}
		for _, name := range l.common {
			files = append(files, filepath.Join("/usr/share/common-licenses", name))
		}
		c := component{name: l.name, version: version, license: l.license,
			purl:   "pkg:deb/debian/" + l.source + "@" + strings.ReplaceAll(version, ":", "%3A") + "?arch=source",
			source: "Debian's source package " + l.source + " " + version + ": apt-get source " + l.source + "=" + version}
		if c.texts, err = texts(files...); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

// rebuilt is what Debian adds to the version of a source package for packages that
// were built again, or for cross compilers.
var rebuilt = regexp.MustCompile(`(\+b|cross)\d+$`)

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// unpackedVersion looks a package up in the list that packaging/sysroot left.
func unpackedVersion(list, pkg string) (string, error) {
	content, err := os.ReadFile(list)
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(pkg) + ` (.*)$`).FindSubmatch(content)
	if version == nil {
		return "", fmt.Errorf("no %s in %s", pkg, list)
	}
	return string(version[1]), nil
}

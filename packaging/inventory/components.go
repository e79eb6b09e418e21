// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// components returns what the binary is made of, ourselves first.
func (p *product) components() ([]component, error) {
	own, err := p.own()
	if err != nil {
		return nil, err
	}
	golang, err := p.golang()
	if err != nil {
		return nil, err
	}
	modules, err := p.modules()
	if err != nil {
		return nil, err
	}
	libbpf, err := p.libbpfComponent()
	if err != nil {
		return nil, err
	}
	libraries, err := p.libraries()
	if err != nil {
		return nil, err
	}
	return slices.Concat(own, []component{golang, libbpf}, libraries, modules), nil
}

func (p *product) own() ([]component, error) {
	apache, err := texts("LICENSE", "NOTICE")
	if err != nil {
		return nil, err
	}
	bsd, err := texts("LICENSES/BSD-2-Clause.txt", "LICENSES/GPL-2.0-only.txt")
	if err != nil {
		return nil, err
	}
	bsd[0].text = strings.Replace(bsd[0].text, "<year> <owner>", "The copenclose authors", 1)
	found := []component{{name: "copenclose", version: p.version, license: "Apache-2.0",
		purl:   "pkg:golang/github.com/copenclose/copenclose@v" + p.version,
		source: "https://github.com/copenclose/copenclose", texts: apache}}
	for _, object := range p.objects {
		name, _, _ := strings.Cut(filepath.Base(object), ".")
		found = append(found, component{name: name + ".bpf.o", version: p.version, license: "GPL-2.0-only OR BSD-2-Clause",
			source: "bpf/ of https://github.com/copenclose/copenclose", file: object, texts: bsd})
	}
	return found, nil
}

// golang is Go's own library and runtime.
func (p *product) golang() (component, error) {
	said, err := p.output(p.goTool, "env", "GOVERSION", "GOROOT")
	if err != nil {
		return component{}, err
	}
	version, root, _ := strings.Cut(strings.TrimSpace(said), "\n")
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "go"), " ") // without experiments
	found, err := texts(filepath.Join(root, "LICENSE"), filepath.Join(root, "PATENTS"))
	if err != nil {
		// Debian keeps it elsewhere.
		if found, err = texts("/usr/share/doc/golang-go/copyright"); err != nil {
			return component{}, fmt.Errorf("no licence of Go in %s: %w", root, err)
		}
	}
	return component{name: "go", version: version, license: "BSD-3-Clause", purl: "pkg:generic/golang@" + version,
		source: "https://go.dev/dl/", texts: found}, nil
}

// modules are the Go modules of which a package is linked.
func (p *product) modules() ([]component, error) {
	// With -e, because what is embedded is made from this list.
	said, err := p.output(p.goTool, "list", "-deps", "-e", "-tags", p.tags,
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}", ".")
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	slices.Sort(lines)
	var found []component
	for _, line := range slices.Compact(lines) {
		words := strings.SplitN(line, " ", 3)
		if len(words) != 3 {
			continue // a package of Go itself
		}
		c := component{name: words[0], version: words[1], purl: "pkg:golang/" + words[0] + "@" + words[1]}
		if c.license, c.texts, err = licenseIn(words[2]); err != nil {
			return nil, fmt.Errorf("module %s: %w", c.name, err)
		}
		found = append(found, c)
	}
	return found, nil
}

// isLicense is true for the files in which authors put licences and what goes with
// them.
var isLicense = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// licenseIn returns the licence of a source tree, and the texts that say it.
func licenseIn(dir string) (expression string, found []text, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() || !isLicense.MatchString(e.Name()) {
			continue
		}
		one, err := texts(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", nil, err
		}
		found = append(found, one...)
		for _, match := range licensecheck.Scan([]byte(one[0].text)).Match {
			// A grant of patents is no licence, and has no SPDX identifier.
			if patents := strings.HasPrefix(match.ID, "Google"); !match.IsURL && !patents && !slices.Contains(ids, match.ID) {
				ids = append(ids, match.ID)
			}
		}
	}
	if len(ids) == 0 {
		return "", nil, errors.New("no known licence in " + dir)
	}
	slices.Sort(ids)
	return strings.Join(ids, " AND "), found, nil
}

// libbpfComponent is libbpf, which we take under the BSD licence.
func (p *product) libbpfComponent() (component, error) {
	symbols, err := os.ReadFile(filepath.Join(p.libbpf, "src/libbpf.map"))
	if err != nil {
		return component{}, err
	}
	versions := regexp.MustCompile(`(?m)^LIBBPF_(\d+\.\d+\.\d+)`).FindAllSubmatch(symbols, -1)
	if versions == nil {
		return component{}, fmt.Errorf("no version in %s/src/libbpf.map", p.libbpf)
	}
	version := string(versions[len(versions)-1][1])
	found, err := texts(filepath.Join(p.libbpf, "LICENSE"), filepath.Join(p.libbpf, "LICENSE.BSD-2-Clause"))
	return component{name: "libbpf", version: version, license: "BSD-2-Clause", purl: "pkg:github/libbpf/libbpf@v" + version,
		source: "https://github.com/libbpf/libbpf", texts: found}, err
}

// output runs a command and returns what it wrote to stdout.
func (p *product) output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOARCH="+p.arch) // this program has its own
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(said), nil
}

func texts(files ...string) (found []text, err error) {
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found = append(found, text{filepath.Base(file), string(content)})
	}
	return found, nil
}

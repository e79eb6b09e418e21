// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Command copenclose shows, live and per container, every open, connect, accept
// and close on a Linux host.
package main

import (
	"os"

	_ "github.com/copenclose/copenclose/internal/addressspace"
	"github.com/copenclose/copenclose/internal/cli"
)

// Set by the Makefile.
var (
	version = "unknown"
	commit  string
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Build{Version: version, Commit: commit}))
}

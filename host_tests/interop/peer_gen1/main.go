// Peer_gen1 is a go-perun node of generation 1 that tests drive, as perun-rs speaks to.
//
//	peer_gen1 artifacts DIR   write the contracts of that generation there
//	peer_gen1 node            a node; the first line of stdin configures it, commands follow
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"
	"perun.network/go-perun/log"
	plogrus "perun.network/go-perun/log/logrus"

	"uperun/control"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		control.Event("fatal", control.Fields{"text": err.Error()})
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "artifacts":
		return writeArtifacts(args[1])
	case len(args) == 1 && args[0] == "node":
		return node()
	}
	return fmt.Errorf("usage: peer_gen1 artifacts DIR | node")
}

func node() error {
	logger := logrus.New() // to stderr: go-perun says only there what it drops
	logger.SetLevel(logrus.DebugLevel)
	log.Set(plogrus.FromLogrus(logger))
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	var config Config
	if err := control.First(in, &config); err != nil {
		return err
	}
	n, err := newNode(config)
	if err != nil {
		return err
	}
	control.Event("ready", control.Fields{
		"wire": n.wireHex(), "account": n.account.Hex(), "port": n.port, "restored": n.listed(),
	})
	if err := control.Serve(in, n.handlers()); err != nil {
		return err
	}
	return n.stop()
}

// Peer is a go-perun node that tests drive: of generation 2, or with gen1.mod and the tag gen1 of
// generation 1, as perun-rs speaks to.
//
//	peer artifacts DIR        write Perun's own contracts there: abi, bytecode, deployedBytecode
//	peer deploy URL KEYFILE   put them on a chain with go-perun's own functions; print addresses
//	peer node                 a node; the first line of stdin configures it, commands follow
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
	case len(args) == 3 && args[0] == "deploy":
		return deploy(args[1], args[2])
	case len(args) == 1 && args[0] == "node":
		return node()
	}
	return fmt.Errorf("usage: peer artifacts DIR | deploy URL KEYFILE | node")
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
		"wire": n.wireHex(), "account": n.account.Hex(), "port": n.port, "restored": n.restored(),
	})
	if err := control.Serve(in, n.handlers()); err != nil {
		return err
	}
	return n.stop()
}

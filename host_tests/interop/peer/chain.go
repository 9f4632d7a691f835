package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/perun-network/perun-eth-backend/bindings/adjudicator"
	"github.com/perun-network/perun-eth-backend/bindings/assetholder"
	"github.com/perun-network/perun-eth-backend/bindings/assetholdererc20"
	"github.com/perun-network/perun-eth-backend/bindings/assetholdereth"
	"github.com/perun-network/perun-eth-backend/bindings/peruntoken"
	"github.com/perun-network/perun-eth-backend/bindings/trivialapp"
	ethchannel "github.com/perun-network/perun-eth-backend/channel"
	"github.com/perun-network/perun-eth-backend/wallet/simple"

	"uperun/control"
)

const finality = 1 // blocks

// chain is the way to a chain with one account that pays.
type chain struct {
	id      *big.Int
	backend ethchannel.ContractBackend
	wallet  *simple.Wallet
	account accounts.Account
}

// dial connects to a node of the chain; key: of the account that pays.
func dial(url string, key *ecdsa.PrivateKey) (*chain, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("no chain at %s: %w", url, err)
	}
	id, err := client.ChainID(ctx)
	if err != nil {
		return nil, err
	}
	wallet := simple.NewWallet(key)
	transactor := simple.NewTransactor(wallet, types.LatestSignerForChainID(id))
	return &chain{
		id:      id,
		backend: ethchannel.NewContractBackend(client, ethchannel.MakeChainID(id), transactor, finality),
		wallet:  wallet,
		account: accounts.Account{Address: crypto.PubkeyToAddress(key.PublicKey)},
	}, nil
}

// deploy puts the contracts on the chain as go-perun does, and prints where they are.
func deploy(url, keyFile string) error {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	key, err := crypto.HexToECDSA(strings.TrimPrefix(strings.TrimSpace(string(text)), "0x"))
	if err != nil {
		return fmt.Errorf("%s holds no key", keyFile)
	}
	c, err := dial(url, key)
	if err != nil {
		return err
	}
	ctx := context.Background()
	tokens := new(big.Int).Exp(big.NewInt(10), big.NewInt(24), nil)
	adj, err := ethchannel.DeployAdjudicator(ctx, c.backend, c.account)
	if err != nil {
		return err
	}
	eth, err := ethchannel.DeployETHAssetholder(ctx, c.backend, adj, c.account)
	if err != nil {
		return err
	}
	owners := []common.Address{c.account.Address}
	token, err := ethchannel.DeployPerunToken(ctx, c.backend, c.account, owners, tokens)
	if err != nil {
		return err
	}
	erc20, err := ethchannel.DeployERC20Assetholder(ctx, c.backend, adj, token, c.account)
	if err != nil {
		return err
	}
	control.Write(control.Fields{
		"chain_id": c.id, "adjudicator": adj, "eth_holder": eth, "token": token, "erc20_holder": erc20,
	})
	return nil
}

// validate compares the code on the chain with the bindings', as careful clients do.
func (c *chain) validate(adj common.Address, assets []AssetConfig) error {
	ctx := context.Background()
	if err := ethchannel.ValidateAdjudicator(ctx, c.backend, adj); err != nil {
		return err
	}
	for _, a := range assets {
		var err error
		if a.Token == nil {
			err = ethchannel.ValidateAssetHolderETH(ctx, c.backend, a.Holder, adj)
		} else {
			err = ethchannel.ValidateAssetHolderERC20(ctx, c.backend, a.Holder, adj, *a.Token)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeArtifacts writes the bindings in the form of build/contracts: one JSON file per contract.
func writeArtifacts(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, contract := range map[string]struct {
		meta    *bind.MetaData
		runtime string
	}{
		"Adjudicator":      {adjudicator.AdjudicatorMetaData, adjudicator.AdjudicatorBinRuntime},
		"AssetHolder":      {assetholder.AssetholderMetaData, assetholder.AssetHolderBinRuntime},
		"AssetHolderETH":   {assetholdereth.AssetholderethMetaData, assetholdereth.AssetHolderETHBinRuntime},
		"AssetHolderERC20": {assetholdererc20.Assetholdererc20MetaData, assetholdererc20.AssetHolderERC20BinRuntime},
		"PerunToken":       {peruntoken.PeruntokenMetaData, peruntoken.PerunTokenBinRuntime},
		"TrivialApp":       {trivialapp.TrivialappMetaData, trivialapp.TrivialAppBinRuntime},
	} {
		text, err := json.MarshalIndent(map[string]any{
			"abi":              json.RawMessage(contract.meta.ABI),
			"bytecode":         "0x" + strings.TrimPrefix(contract.meta.Bin, "0x"),
			"deployedBytecode": "0x" + strings.TrimPrefix(contract.runtime, "0x"),
		}, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name+".json"), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

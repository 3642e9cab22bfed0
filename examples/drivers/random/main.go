// Command random is a driver whose device is made up: it has a random number at every
// address. {"from": 10, "to": 20} as address.plugin says between which numbers.
package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"

	"github.com/edge-gateway/edge-gateway/pkg/sdk"
)

func main() {
	sdk.Main(sdk.Driver{
		Name: "random", Version: "1.0.0",
		Address: `{"type": "object", "additionalProperties": false, "properties": {"from": {"type": "number"}, "to": {"type": "number"}}}`,
		Open:    func(context.Context, sdk.Config) (sdk.Device, error) { return device{}, nil },
	})
}

type device struct{}

func (device) Close() error { return nil }

func (device) Poll(_ context.Context, g *sdk.Group) error {
	for i, p := range g.Points {
		at := struct{ From, To float64 }{0, 1}
		if err := json.Unmarshal(p.Address, &at); err != nil {
			g.Fail(i, err.Error())
			continue
		}
		g.Set(i, sdk.Float(at.From+rand.Float64()*(at.To-at.From)))
	}
	return nil
}

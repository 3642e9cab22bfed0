package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// The names that a running gateway completes.

func tagNames(ctx context.Context, c *admin.Client) (names []string, err error) {
	list, err := c.Tags.List(ctx, "")
	for _, t := range list {
		names = append(names, t.Name)
	}
	return names, err
}

func driverNames(ctx context.Context, c *admin.Client) (names []string, err error) {
	r, err := c.Drivers.ListDrivers(ctx, &pb.ListDriversRequest{})
	for _, d := range r.GetDrivers() {
		names = append(names, d.Id)
	}
	return names, err
}

// consumerNames completes with those consumers that ok holds for.
func consumerNames(ok func(*pb.BusConsumer) bool) cobra.CompletionFunc {
	return cli.CompleteEach(envPrefix, func(ctx context.Context, c *admin.Client) (names []string, err error) {
		s, err := c.Bus.Stats(ctx)
		for _, k := range s.GetConsumers() {
			if ok(k) {
				names = append(names, k.Name)
			}
		}
		return names, err
	})
}

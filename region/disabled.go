package region

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/null"
)

// EnvDisable is the name of the environment variable that disables every region of the
// process, as Config.Disabled does, if it is "1" or "true" when a region is configured.
const EnvDisable = "DOGPILE_DISABLE"

// disabledHere reports whether the environment disables every region.
func disabledHere() (bool, error) {
	text := os.Getenv(EnvDisable)
	if text == "" {
		return false, nil
	}
	disabled, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("the environment variable %s is %.20q; write 1, or 0, or leave it out", EnvDisable, text)
	}
	return disabled, nil
}

// disabled is the backend of a region that is disabled: nothing is found and nothing is
// stored in it. The leases are of this process. What makes stored values invalid goes to
// the backend as well, where others may have the values that they are about.
type disabled struct {
	*null.Backend
	behind backend.Backend
}

func newDisabled(behind backend.Backend) *disabled { return &disabled{null.New(), behind} }

// Bytes returns what the backend does, so that callers share values as always.
func (d *disabled) Bytes() bool { return d.behind.Bytes() }

// Set stores nothing. A value that is not created but given takes away what others have
// stored, as it would replace that.
func (d *disabled) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	var given []backend.Key
	for _, item := range items {
		if item.Lease == nil && item.Entry != nil {
			given = append(given, item.Key)
		}
	}
	if len(given) > 0 {
		if err := d.behind.Delete(ctx, given); err != nil {
			return nil, err
		}
	}
	return d.Backend.Set(ctx, items, guards)
}

// Delete removes what others have stored.
func (d *disabled) Delete(ctx context.Context, keys []backend.Key) error {
	if err := d.behind.Delete(ctx, keys); err != nil {
		return err
	}
	return d.Backend.Delete(ctx, keys)
}

// Renew makes what others have stored invalid.
func (d *disabled) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := d.behind.Renew(ctx, guards, soft); err != nil {
		return err
	}
	return d.Backend.Renew(ctx, guards, soft)
}

// Close closes the backend too.
func (d *disabled) Close() error {
	_ = d.Backend.Close() // returns nil
	return d.behind.Close()
}

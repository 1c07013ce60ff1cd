package region_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// A proxy that panics where its caller stands is the caller's affair, and no reason
// for Close to wait.
func TestCloseDoesNotWaitForACallThatPanicked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "get" {
				panic("proxy")
			}
		}}))
		r := open(t, cfg)
		for _, call := range []func(){
			func() { region.GetOrCreate(t.Context(), r, "k", counting().create) },
			func() { region.GetOrCreateMulti(t.Context(), r, []string{"k"}, (&loader{}).create) },
			func() { region.Get[string](t.Context(), r, "k") },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic did not reach the caller")
					}
				}()
				call()
			}()
		}
		began := time.Now()
		if err := r.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close = %v after %v", err, time.Since(began))
		}
	})
}

func TestCloseCancelsCallsThatHang(t *testing.T) {
	for name, use := range map[string]func(r *region.Region) error{
		"Get": func(r *region.Region) error {
			_, _, err := region.Get[string](context.Background(), r, "k")
			return err
		},
		"GetOrCreate": func(r *region.Region) error {
			_, err := region.GetOrCreate(context.Background(), r, "k", counting().create)
			return err
		},
		"Set":    func(r *region.Region) error { return region.Set(context.Background(), r, "k", "v") },
		"Delete": func(r *region.Region) error { return r.Delete(context.Background(), "k") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				cfg := config(memory.Config{})
				cfg.CloseTimeout = time.Second
				slow := &slowBackend{}
				cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { slow.Backend = b; return slow })
				r, err := region.New("test", cfg)
				if err != nil {
					t.Fatal(err)
				}
				slow.on.Store(true)
				done := make(chan error, 1)
				began := time.Now()
				go func() { done <- use(r) }()
				synctest.Wait()
				cerr := r.Close()
				closed := time.Since(began)
				synctest.Wait() // it has left the region, and may have yet to say so
				select {
				case <-done:
				default:
					t.Errorf("Close returned %v after %v while the call is still under way", cerr, closed)
				}
			})
		})
	}
}

package proxy

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// LoggingConfig says what is logged of the operations of a backend, and how loudly. The
// zero LoggingConfig logs failures as warnings, and everything else for those who debug.
type LoggingConfig struct {
	// Logger gets the records. Defaults to what slog.Default returns when the region is
	// configured.
	Logger *slog.Logger

	// Level is that of operations that went well. Failures are logged as warnings,
	// unless the operation ended with its context. Defaults to slog.LevelDebug.
	Level slog.Leveler

	// Slow is how long an operation takes that is logged as a warning for that. It is not
	// asked of Wait, whose work is to wait. Defaults to 0: none is too slow.
	Slow time.Duration

	// Keys adds the names of keys and tags to the records, the first ten of an operation,
	// and the first hundred bytes of each. They may be personal data. Defaults to false:
	// records tell how many there are.
	Keys bool
}

// Logging returns a wrapper that logs every operation of a backend, with its duration,
// the region, the numbers of keys and guards, of entries found, leases granted and items
// refused, and the error. Values are never logged; the text of an error is the backend's.
//
// A negative Slow is a mistake.
func Logging(config LoggingConfig) func(backend.Backend) backend.Backend {
	var mistake error
	if config.Slow < 0 {
		mistake = fmt.Errorf("proxy: Slow is %v; give a duration that is not negative", config.Slow)
	}
	return around(mistake, func(in inner) backend.Backend {
		config := config
		config.Logger = cmp.Or(config.Logger, slog.Default())
		if config.Level == nil {
			config.Level = slog.LevelDebug
		}
		return &logged{in, config}
	})
}

// logged writes one record for each operation.
type logged struct {
	inner
	config LoggingConfig
}

const (
	mostNames   = 10
	longestName = 100
)

// log writes the record of an operation that is over, with its results.
func (l *logged) log(ctx context.Context, op string, began time.Time, keys []backend.Key, guards []backend.Guard, err error, results ...slog.Attr) {
	took := time.Since(began)
	level := l.config.Level.Level()
	failed := err != nil && ctx.Err() == nil
	if slow := l.config.Slow > 0 && took >= l.config.Slow && op != "Wait"; failed || slow {
		level = max(level, slog.LevelWarn)
	}
	if !l.config.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("op", op), slog.Duration("took", took)}
	if len(keys) > 0 {
		attrs = append(attrs, slog.String("region", keys[0].Region), slog.Int("keys", len(keys)))
	} else if len(guards) > 0 {
		attrs = append(attrs, slog.String("region", guards[0].Region))
	}
	if len(guards) > 0 {
		attrs = append(attrs, slog.Int("guards", len(guards)))
	}
	if l.config.Keys {
		var names, tags []string
		for _, key := range keys[:min(len(keys), mostNames)] {
			names = append(names, key.Name[:min(len(key.Name), longestName)])
		}
		for _, guard := range guards {
			if guard.Tag != "" && len(tags) < mostNames {
				tags = append(tags, guard.Tag[:min(len(guard.Tag), longestName)])
			}
		}
		attrs = append(attrs, slog.Any("names", names), slog.Any("tags", tags))
	}
	attrs = append(attrs, results...)
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	l.config.Logger.LogAttrs(ctx, level, "backend operation", attrs...)
}

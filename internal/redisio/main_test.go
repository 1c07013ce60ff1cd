package redisio_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.WithShared(m)) }

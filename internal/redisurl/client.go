package redisurl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// defaultTimeout is for connecting, sending and reading, each. A cache that takes
// longer than that is slower than what it caches. It also bounds calls without a
// deadline, and those that are cancelled: go-redis interrupts no read for that.
const defaultTimeout = time.Second

const (
	// noRetries is not 0, for which go-redis takes its default. What may be sent
	// again after an error is for the backend to say, which knows its commands.
	// A cluster client resends all the same: see client.
	noRetries = -1

	// oneDial makes a port that refuses be an error at once. By default go-redis
	// dials five times, a tenth of a second apart.
	oneDial = 1

	// noPipelinePool makes pipelines use the connections that other commands use,
	// with buffers of 2 × 32 KiB. By default they have up to ten of their own to
	// each server, with 2 × 128 KiB. Those are for many callers with a large
	// pipeline each, and the backend gathers what many callers want into few
	// pipelines. A process that does little then needs one connection, not two. And
	// where a server does not answer, go-redis would dial for both pools in turn,
	// so that a pipeline took two timeouts to fail.
	noPipelinePool = -1

	// resp3 is what the wake-up by tracking needs. Servers that do not have it are
	// talked to in RESP2.
	resp3 = 3
)

// client returns the client for p with the settings s.
//
// A cluster client counts redirections and repetitions together. It has
// MaxRedirects, and not MaxRetries, for both, so with the default of 3 it follows
// slots that moved, but also sends a command or a pipeline again after a lost
// connection or a timeout. What may not be done twice has to say so, by a NoRetry
// method of the command.
func (k kind) client(p place, s settings) redis.UniversalClient {
	dialTimeout := orDefault(s.dialTimeout)
	readTimeout := orDefault(s.readTimeout)
	writeTimeout := orDefault(s.writeTimeout)
	poolTimeout := readTimeout + time.Second
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	switch k.topology {
	case sentinel:
		// The connections to the sentinels have the same options, with the exception
		// of user, password and database.
		c := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName:            p.master,
			SentinelAddrs:         p.addrs,
			SentinelUsername:      s.sentinelUsername,
			SentinelPassword:      s.sentinelPassword,
			Username:              p.username,
			Password:              p.password,
			DB:                    p.database,
			ClientName:            s.clientName,
			Protocol:              resp3,
			MaxRetries:            noRetries,
			DialTimeout:           dialTimeout,
			DialerRetries:         oneDial,
			ReadTimeout:           readTimeout,
			WriteTimeout:          writeTimeout,
			ContextTimeoutEnabled: true,
			PipelinePoolSize:      noPipelinePool,
			PoolSize:              s.poolSize,
			PoolTimeout:           poolTimeout,
			TLSConfig:             s.tls,
			DisableIdentity:       true,
		})
		c.AddHook(unknownMaster(p.master))
		return c
	case cluster:
		c := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs:                    p.addrs,
			Username:                 p.username,
			Password:                 p.password,
			ClientName:               s.clientName,
			Protocol:                 resp3,
			MaxRetries:               noRetries,
			DialTimeout:              dialTimeout,
			DialerRetries:            oneDial,
			ReadTimeout:              readTimeout,
			WriteTimeout:             writeTimeout,
			ContextTimeoutEnabled:    true,
			PipelinePoolSize:         noPipelinePool,
			PoolSize:                 s.poolSize,
			PoolTimeout:              poolTimeout,
			TLSConfig:                s.tls,
			DisableIdentity:          true,
			MaintNotificationsConfig: quiet,
			// They have to do with commands for several slots, which nobody sends here.
			// To find them go-redis asks some node for COMMAND before the first command,
			// without regard for the caller's deadline: with a node that does not answer
			// a call for another node took seconds.
			DisableRoutingPolicies: true,
		})
		watchNodes(c)
		return c
	default:
		return redis.NewClient(&redis.Options{
			Addr:                     p.addrs[0],
			Username:                 p.username,
			Password:                 p.password,
			DB:                       p.database,
			ClientName:               s.clientName,
			Protocol:                 resp3,
			MaxRetries:               noRetries,
			DialTimeout:              dialTimeout,
			DialerRetries:            oneDial,
			ReadTimeout:              readTimeout,
			WriteTimeout:             writeTimeout,
			ContextTimeoutEnabled:    true,
			PipelinePoolSize:         noPipelinePool,
			PoolSize:                 s.poolSize,
			PoolTimeout:              poolTimeout,
			TLSConfig:                s.tls,
			DisableIdentity:          true,
			MaintNotificationsConfig: quiet,
		})
	}
}

func orDefault(d time.Duration) time.Duration {
	if d == 0 {
		return defaultTimeout
	}
	return d
}

// unknownMaster is a hook for clients of the master of that name. Sentinels that
// do not know it answer nil, and go-redis hands that on as an error that wraps
// redis.Nil, so that every read would be taken for a miss.
type unknownMaster string

func (name unknownMaster) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if errors.Is(err, redis.Nil) {
			err = fmt.Errorf("redisurl: the sentinels know no master %q: check the name behind the hosts in the URL, and SENTINEL MASTERS", string(name))
		}
		return conn, err
	}
}

func (unknownMaster) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (unknownMaster) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

package redisio

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script. It is sent as its SHA-1 and, to a server that does not
// know it, as its text.
type Script struct {
	source, sha string
}

// NewScript returns a script of this text.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source)) // what Redis knows scripts by; nothing rests on it being safe
	return &Script{source, hex.EncodeToString(sum[:])}
}

// Batch is commands that go to the server in one round trip, or one to each server
// of a cluster. Those for one server are executed in their order. The zero value
// is not usable; get one from [Client.Batch]. It is used by one goroutine, once.
type Batch struct {
	// Once has no command of the batch sent twice, neither by the batch nor by the
	// client, whatever the client's options say. So each is executed once at most,
	// if perhaps late: a command that was given up may be on its way still.
	Once bool

	client *Client
	calls  []*Call
}

// Call is one command of a batch. Its result can be read when the batch has been
// executed.
type Call struct {
	cmd    *redis.Cmd
	script *Script // nil: a command
	keys   []string
	args   []any // of a command: itself
}

// Batch returns an empty batch.
func (c *Client) Batch() *Batch { return &Batch{client: c} }

// Len returns the number of commands in the batch.
func (b *Batch) Len() int { return len(b.calls) }

// From returns the commands that were added when there were n already.
func (b *Batch) From(n int) []*Call { return b.calls[n:] }

// Do adds a command: its name, its arguments.
func (b *Batch) Do(args ...any) *Call {
	call := &Call{args: args}
	b.calls = append(b.calls, call)
	return call
}

// Eval adds a script.
func (b *Batch) Eval(s *Script, keys []string, args ...any) *Call {
	call := &Call{script: s, keys: keys, args: args}
	b.calls = append(b.calls, call)
	return call
}

// Exec sends the batch and returns the first error that is not an answer of the
// server, such as a broken connection: then nobody knows which of the commands
// have been executed. Every command of a batch has to bear being executed twice,
// because a batch whose connection broke is sent once more, unless it is to be sent
// once.
//
// A script that the server does not know is sent again with its text; the commands
// around it are not.
func (b *Batch) Exec(ctx context.Context) error {
	err := b.send(ctx, b.calls, false)
	if err != nil && !b.Once && ctx.Err() == nil && Broken(err) {
		err = b.send(ctx, b.calls, false)
	}
	if err != nil {
		return err
	}
	var unknown []*Call
	for _, call := range b.calls {
		if call.script != nil && isNoScript(call.cmd.Err()) {
			unknown = append(unknown, call)
		}
	}
	if unknown == nil {
		return nil
	}
	return b.send(ctx, unknown, true)
}

func (b *Batch) send(ctx context.Context, calls []*Call, whole bool) error {
	if len(calls) == 0 {
		return nil
	}
	// A client that is left alone when ctx ends must not write into what the
	// caller reads.
	cmds := make([]*redis.Cmd, len(calls))
	for i, call := range calls {
		cmds[i] = call.command(ctx, whole)
	}
	sent := func(cmd *redis.Cmd) redis.Cmder {
		if b.Once {
			return once{cmd}
		}
		return cmd
	}
	err := b.client.Run(ctx, func(ctx context.Context) error {
		if len(cmds) == 1 && !(b.Once && b.client.Cluster()) {
			// A single command of a cluster may be routed by what it is, which
			// is said of commands of go-redis alone.
			return failure(b.client.Process(ctx, sent(cmds[0])))
		}
		pipe := b.client.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, sent(cmd))
		}
		_, err := pipe.Exec(ctx) // the first error, of whatever kind
		told := err == nil
		for _, cmd := range cmds {
			if err := failure(cmd.Err()); err != nil {
				return err
			}
			told = told || cmd.Err() != nil
		}
		if !told {
			// A server that refuses the connection refuses the batch, but
			// go-redis does not tell the commands, which look as if they had
			// been answered with nothing.
			return err
		}
		return nil
	})
	if err != nil {
		b.client.Failed(ctx, err)
		return explain(ctx, err)
	}
	for i, call := range calls {
		call.cmd = cmds[i]
	}
	return nil
}

// once is a command that go-redis never repeats by itself.
type once struct{ *redis.Cmd }

// NoRetry is asked by go-redis, of single commands and of those of a pipeline.
func (once) NoRetry() bool { return true }

func (c *Call) command(ctx context.Context, whole bool) *redis.Cmd {
	if c.script == nil {
		return redis.NewCmd(ctx, c.args...)
	}
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	if whole {
		args = append(args, "eval", c.script.source)
	} else {
		args = append(args, "evalsha", c.script.sha)
	}
	args = append(args, len(c.keys))
	for _, key := range c.keys {
		args = append(args, key)
	}
	cmd := redis.NewCmd(ctx, append(args, c.args...)...)
	if len(c.keys) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	return cmd
}

// Value returns what the server answered: nil, int64, string or []any, or its
// error. A missing value is nil and no error.
func (c *Call) Value() (any, error) {
	value, err := c.cmd.Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return value, err
}

// Moving reports whether the command was refused because its keys are on their way from
// one server of a cluster to another: some are here and some are there.
func (c *Call) Moving() bool {
	err := c.cmd.Err()
	return err != nil && strings.HasPrefix(err.Error(), "TRYAGAIN")
}

// Done reports whether the server has executed the command, or said that it will not.
func (c *Call) Done() bool { return c.cmd != nil && !c.Moving() && !isNoScript(c.cmd.Err()) }

func isNoScript(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}

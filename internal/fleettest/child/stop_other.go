//go:build !unix

package child

import "errors"

// Stop returns [errors.ErrUnsupported].
func (p *Process) Stop() error { return errors.ErrUnsupported }

// Continue returns [errors.ErrUnsupported].
func (p *Process) Continue() error { return errors.ErrUnsupported }

import { expect } from 'chai'
import { faultScript } from '../../../../tools/lab/disk-faults.js'

describe('the commands of a disk fault', () => {
  it('load the new table before the disk is suspended, so that a refused one leaves it running', () => {
    for (const fault of [undefined, { kind: 'slow', ms: 5 }, { kind: 'removed' }, { kind: 'fail', direction: 'read' }, { kind: 'fail', direction: 'write' }] as const) {
      const script = faultScript(1, '2048', fault)
      expect(script.indexOf('dmsetup load')).to.be.within(0, script.indexOf('dmsetup suspend'))
    }
  })

  it('use only what kernel 6.1 has: dm-flakey there can\'t fail reads alone', () => {
    expect(faultScript(1, '2048', { kind: 'fail', direction: 'read' })).to.contain('delay /dev/mapper/disk1-dead 0 0 /dev/ubdb 0 0').and.not.contain('error_reads')
  })
})

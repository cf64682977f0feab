import { expect } from 'chai'
import { placesIn, readFailures } from '../../../../agent/head/mend.js'

describe('the kernel\'s log', () => {
  const log = [
    '[    1.000000] I/O error, dev sdb, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2',
    '[  312.513221] sd 3:0:0:1: [sdb] tag#12 Sense Key : Medium Error [current]',
    '[  312.513222] critical medium error, dev sdb, sector 83976 op 0x0:(READ) flags 0x84700 phys_seg 8 prio class 2',
    '[  312.600000] I/O error, dev sdb, sector 90112 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2',
    '[  312.700000] I/O error, dev sdbb, sector 4096 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2',
    '[  313.100000] I/O error, dev sdb, sector 83976 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2',
    '[  313.200000] I/O error, dev sdb, sector 16 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2',
  ].join('\n')

  it('says where a disk could not be read, of errors that were not dealt with yet', () => {
    expect(readFailures(log, 'sdb', 1)).to.deep.equal({ sectors: [83976n, 16n], lastS: 313.2 })
    expect(readFailures(log, 'sdb', 313.2)).to.deep.equal({ sectors: [], lastS: 313.2 })
    expect(readFailures('', 'sdb', 0)).to.deep.equal({ sectors: [], lastS: 0 })
  })
})

describe('what is written anew', () => {
  const segment = { start: 0n, length: 4096n }
  it('is all that the failed request may have covered, within the part', () => {
    expect(placesIn(segment, [1000n], 512n)).to.deep.equal([{ begin: 1000n, end: 1512n }])
    expect(placesIn(segment, [1003n], 512n)).to.deep.equal([{ begin: 1000n, end: 1515n }])
    expect(placesIn(segment, [4000n], 512n)).to.deep.equal([{ begin: 4000n, end: 4096n }])
  })

  it('is written once where places overlap, and nothing of another part', () => {
    expect(placesIn(segment, [300n, 0n, 2048n], 512n)).to.deep.equal([{ begin: 0n, end: 812n }, { begin: 2048n, end: 2560n }])
    expect(placesIn(segment, [4096n, 9000n], 512n)).to.deep.equal([])
    expect(placesIn({ start: 4100n, length: 8192n }, [4096n, 4101n, 5000n], 100n)).to.deep.equal([{ begin: 4100n, end: 4201n }, { begin: 5000n, end: 5100n }])
  })
})

import { expect } from 'chai'
import { addressPace, createAttempts, namePace, networkOf } from '../../../../manager/access/attempts.js'

describe('attempts to guess a secret', () => {
  const fail = (attempts: ReturnType<typeof createAttempts>, address: string, name: string, count: number, nowMs: number): void => {
    for (let each = 0; each < count; each += 1) expect(attempts.take(address, name, nowMs), `attempt ${each + 1}`).to.equal(0)
  }

  it('are so many in a row from one address, whatever name is tried; then one comes back at a time', () => {
    const attempts = createAttempts()
    for (let each = 0; each < addressPace.burst; each += 1) fail(attempts, '10.0.0.1', `name ${each}`, 1, 0)
    expect(attempts.take('10.0.0.1', 'another', 0)).to.equal(addressPace.everyMs)
    expect(attempts.take('10.0.0.1', 'another', addressPace.everyMs - 1)).to.equal(1)
    fail(attempts, '10.0.0.1', 'another', 1, addressPace.everyMs)
    expect(attempts.take('10.0.0.1', 'another', addressPace.everyMs)).to.be.greaterThan(0)
    fail(attempts, '10.0.0.2', 'another', 1, 0)
  })

  it('are so many in a row for one name, from however many addresses', () => {
    const attempts = createAttempts()
    for (let each = 0; each < namePace.burst; each += 1) fail(attempts, `10.0.0.${each}`, 'name', 1, 0)
    expect(attempts.take('10.0.1.1', 'name', 0)).to.equal(namePace.everyMs)
    fail(attempts, '10.0.1.1', 'other', 1, 0)
    fail(attempts, '10.0.1.1', 'name', 1, namePace.everyMs)
  })

  it('that are refused cost nothing, so that waiting ends', () => {
    const attempts = createAttempts()
    fail(attempts, 'a', 'n', addressPace.burst, 0)
    for (let each = 0; each < 1000; each += 1) expect(attempts.take('a', 'n', 1)).to.be.greaterThan(0)
    fail(attempts, 'a', 'n', addressPace.burst, addressPace.burst * addressPace.everyMs)
  })

  it('that were right are given back', () => {
    const attempts = createAttempts()
    for (let each = 0; each < 100; each += 1) {
      fail(attempts, 'a', 'n', 1, 0)
      attempts.giveBack('a', 'n', 0)
    }
    fail(attempts, 'a', 'n', addressPace.burst, 0)
  })

  it('do not come back when the clock goes back', () => {
    const attempts = createAttempts()
    fail(attempts, 'a', 'n', addressPace.burst, 1_000_000)
    expect(attempts.take('a', 'n', 0)).to.be.greaterThan(0)
  })

  it('of more names than can be remembered are refused: no flood of names makes a failure forgotten', () => {
    const attempts = createAttempts({ keysMax: 3 })
    for (const address of ['a', 'b', 'c']) fail(attempts, address, 'n', 1, 0)
    expect(attempts.take('d', 'n', 0)).to.be.greaterThan(0)
    fail(attempts, 'a', 'n', 1, 0)
    fail(attempts, 'd', 'n', 1, 2 * addressPace.everyMs) // those that have all of theirs again need not be remembered
  })

  it('are counted by what one client can take addresses from', () => {
    for (const [address, network] of [
      ['10.1.2.3', '10.1.2.3'], ['::ffff:10.1.2.3', '10.1.2.3'], ['2001:db8:0:1:aaaa::5', '2001:db8:0:1::/64'], ['2001:0DB8::1', '2001:db8:0:0::/64'], ['fe80::1%eth0', 'fe80:0:0:0::/64'], ['::1', '0:0:0:0::/64'], ['unix', 'unix'],
    ] as const) expect(networkOf(address), address).to.equal(network)
  })
})

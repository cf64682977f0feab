import { expect } from 'chai'
import { parseConfig } from '../../../manager/config.js'

const classicOf = (text: string): unknown => parseConfig(`name = "m"\n${text}`, 'x').classic
const problems = (text: string): readonly string[] => {
  try {
    classicOf(text)
  } catch (thrown) {
    return String((thrown as Error).message).split('\n').slice(1).map((line) => line.trim().split(/:| is not/)[0] ?? '')
  }
  return []
}

describe('the door for clients of the original API', () => {
  it('is closed unless the configuration opens it', () => {
    expect(classicOf('')).to.equal(undefined)
    expect(classicOf('[classic]\nlisten = "8890"')).to.deep.equal({ host: '127.0.0.1', port: 8890, stepGb: 10 })
  })

  it('is on loopback unless an address is said', () => {
    expect(classicOf('[classic]\nlisten = "10.0.0.1:8881"\nextentsize = 1')).to.deep.equal({ host: '10.0.0.1', port: 8881, stepGb: 1 })
    expect(classicOf('classic = { listen = "[::1]:8881" }')).to.include({ host: '::1', port: 8881 })
  })

  it('has every mistake named', () => {
    expect(problems('classic = 8881')).to.deep.equal(['classic'])
    expect(problems('[classic]\n')).to.deep.equal(['classic.listen'])
    expect(problems('[classic]\nlisten = "0"\nextentsize = 0\nport = 1')).to.deep.equal(['classic.port', 'classic.listen', 'classic.extentsize'])
    for (const listen of ['99999', 'a b:1', ':8881', 'here']) expect(problems(`[classic]\nlisten = "${listen}"`), listen).to.deep.equal(['classic.listen'])
  })
})

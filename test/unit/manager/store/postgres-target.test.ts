import { expect } from 'chai'
import { describePostgres, parsePostgres } from '../../../../manager/store/postgres-target.js'
import type { PostgresTarget } from '../../../../manager/store/postgres-target.js'

function target(url: string): PostgresTarget {
  const found = parsePostgres(url)
  if ('problem' in found) throw new Error(found.problem)
  return found
}
const problem = (url: string): string => {
  const found = parsePostgres(url)
  return 'problem' in found ? found.problem : 'none'
}

describe('the address of a PostgreSQL', () => {
  it('names one host or several, each with its port, 5432 where it says none', () => {
    expect(target('postgres://u@a:1,b.example,[::1]:2/db').hosts).to.deep.equal([{ host: 'a', port: 1 }, { host: 'b.example', port: 5432 }, { host: '::1', port: 2 }])
    expect(target('postgresql://u@%2Frun%2Fpostgresql/db').hosts).to.deep.equal([{ host: '/run/postgresql', port: 5432 }])
  })

  it('has a user, a password and a database in which anything may stand that is written with %', () => {
    expect(target('postgres://us%40er:p%2Fw%3A@a/d%20b')).to.deep.include({ user: 'us@er', password: 'p/w:', database: 'd b' })
    expect(target('postgres://u:p:q@a/d').password).to.equal('p:q')
  })

  it('is spoken to in cipher, with the server\'s certificate and name proved, unless all hosts are this machine or it says otherwise', () => {
    expect(target('postgres://u@a/d').ssl.mode).to.equal('verify-full')
    expect(target('postgres://u@127.0.0.1,localhost,[::1],%2Frun/d').ssl.mode).to.equal('disable')
    expect(target('postgres://u@localhost,a/d').ssl.mode).to.equal('verify-full')
    expect(target('postgres://u@a/d?sslmode=disable').ssl.mode).to.equal('disable')
    expect(target('postgres://u@a/d?sslmode=verify-ca&sslrootcert=/ca&sslcert=/c&sslkey=/k').ssl).to.deep.equal({ mode: 'verify-ca', rootCert: '/ca', cert: '/c', key: '/k' })
  })

  it('is refused with what is wrong', () => {
    for (const [url, said] of [
      ['postgres://u@a', 'expected postgres://'], ['postgres:///d', 'expected postgres://'], ['mysql://u@a/d', 'expected postgres://'], ['postgres://a/d', 'names no user'], ['postgres://u@a:0/d', 'host 1'],
      ['postgres://u@a,b:70000/d', 'host 2'], ['postgres://u@a,,b/d', 'host 2'], [`postgres://u@${Array.from({ length: 17 }, () => 'a').join(',')}/d`, 'more than 16'], ['postgres://u@a/d?sslmode=prefer', 'sslmode must be one of'],
      ['postgres://u@a/d?timeout=1', 'there is no option "timeout"'], ['postgres://u@a/d?sslrootcert=ca', 'absolute path'], ['postgres://u@a/d?sslcert=/c', 'go together'], ['postgres://u:p@a/d?password_file=/f', 'leave one out'],
      ['postgres://u@a/d?sslmode=verify-ca', 'needs sslrootcert'], ['postgres://u@a/d?target_session_attrs=any', 'can only be read-write'], ['postgres://u:%zz@a/d', 'two hex digits'],
    ] as const) expect(problem(url), url).to.contain(said)
  })

  it('is told without its password', () => {
    expect(describePostgres(target('postgres://u:secret@a:1,b/d'))).to.equal('PostgreSQL database d at a:1, b:5432')
    for (const url of ['postgres://u:secret@a:0/d', 'postgres://u:secret@a/d?x=1', 'postgres://u:secret@']) expect(problem(url)).to.not.contain('secret')
  })
})

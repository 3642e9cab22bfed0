// The load of the specification (3.9): 5,000 requests a second at a Modbus device for ten
// minutes, while a gateway polls it. Nothing may time out or be refused at the gateway.
//
//   edge-ctl sim modbus --listen 127.0.0.1:1502 &
//   edge-gw run --config my-plant/gateway.yml &
//   k6 run -e TARGET=127.0.0.1:1502 -e METRICS=http://127.0.0.1:9100/metrics test/load/load.js
//
// It needs a k6 with the extension tcp: xk6 build --with github.com/NAlexandrov/xk6-tcp
import tcp from 'k6/x/tcp';
import http from 'k6/http';
import { check } from 'k6';

const target = __ENV.TARGET || '127.0.0.1:1502';
const metrics = __ENV.METRICS || 'http://127.0.0.1:9100/metrics';
const rate = Number(__ENV.RATE || 5000);

export const options = {
  scenarios: {
    polls: {
      executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration: __ENV.DURATION || '10m',
      preAllocatedVUs: 100, maxVUs: 500,
    },
  },
  thresholds: { checks: ['rate==1'], dropped_iterations: ['count==0'] },
};

// request reads two holding registers, from 40001 on, of unit 1 (MBAP header and PDU).
export const request = [0x00, 0x01, 0x00, 0x00, 0x00, 0x06, 0x01, 0x03, 0x00, 0x00, 0x00, 0x02];

// One connection for each virtual user: a device has few, and a handshake for each request
// would measure those.
let socket;

export default function () {
  socket = socket || tcp.connect(target);
  tcp.write(socket, request);
  const answer = tcp.read(socket, 13);
  check(answer, { 'two registers came': (a) => a && a.length === 13 });
}

// errors returns how many of the gateway's own requests failed.
export function errors(text) {
  return text.split('\n')
    .filter((line) => /^modbus_pdu_total\{.*result="(err|timeout)"/.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

export function teardown() {
  const answer = http.get(metrics);
  check(answer, { 'the gateway had no error': (a) => a.status === 200 && errors(a.body) === 0 });
}

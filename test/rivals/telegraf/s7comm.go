package main

import _ "github.com/influxdata/telegraf/plugins/inputs/s7comm"

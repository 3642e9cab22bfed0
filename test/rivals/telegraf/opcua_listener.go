package main

import _ "github.com/influxdata/telegraf/plugins/inputs/opcua_listener"

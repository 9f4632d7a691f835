module uperun/control

go 1.23

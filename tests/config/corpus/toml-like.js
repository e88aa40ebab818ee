# settings
[connection]
HOST = "vc.example.com"
USERNAME = 'backup'
PORT = 443

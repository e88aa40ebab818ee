{
  "HOST": "vc.example.com",
  "PORT": 443,
  "USERNAME": "backup"
}
